package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"bumpless/appliance/guest"
	"bumpless/appliance/testbed/pair"
	"bumpless/migrate/gateway"
)

// switchover is one move under way, and what goes wrong in it.
type switchover struct {
	h        *harness
	trial    trial
	row      Row
	from, to string
	incoming uint64 // copy at the destination
	dir      string // of the move
	began    time.Time
	killed   atomic.Int64 // when the guard killed the source's gateway, in us; 0: it did not
	resumed  time.Time    // when the harness itself continued the guest, as a daemon would

	relays  []*relay
	events  chan said
	watches map[string]*watcher // by host

	source, destination *pair.Gateway
	daemons             daemons
	arrival             *gateway.Arrival
	arrived             chan struct{}            // closed when the destination's gateway is gone, and the copy's place decided
	again               *gateway.Recommit        // COMMIT, sent again
	answer              atomic.Pointer[answered] // to that; nil: none yet
	heal                []func() error           // undoes the fault
	letGo               func()                   // of the disk; nil: it was not taken
	loaded              func()                   // what ends when the destination has loaded the guest; nil: nothing
}

// said is a line of one of the gateways.
type said struct {
	side string
	gateway.Event
}

// Bounds of what is waited for.
const (
	moveWait    = time.Minute
	endWait     = 2 * time.Second // for a destination whose source says that it has moved
	abortGrace  = time.Second     // as a daemon's
	passing     = time.Second     // a fault lasts in a phase that no deadline ends
	continueFor = 2 * time.Second // a paused guest is told to go on
)

// switchOver carries out one trial and leaves the guest running, on one of the
// two hosts. An error means that the guest is in no known state.
func (h *harness) switchOver(ctx context.Context, t trial, n int, seed uint64) (Row, error) {
	s := &switchover{h: h, trial: t, from: h.At, to: other(h.At), dir: filepath.Join(h.Dir, fmt.Sprint("move", n)), events: make(chan said, 10_000), watches: map[string]*watcher{},
		arrival: gateway.NewArrival(), arrived: make(chan struct{}),
		row: Row{N: n, Seed: seed, Fault: t.name(), Phase: string(t.phase), From: h.At, BudgetMs: h.budgetMs, Load: loadAverage()}}
	s.again = gateway.NewRecommit(s.sendCommitAgain)
	ctx, cancel := context.WithTimeout(ctx, moveWait)
	defer cancel()
	err := s.run(ctx)
	err = errors.Join(err, s.cleanUp())
	if err != nil {
		return s.row, err
	}
	if err := s.check(); err != nil {
		return s.row, err
	}
	s.row.judge()
	return s.row, nil
}

func (s *switchover) run(ctx context.Context) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	return s.settle(ctx)
}

// begin starts the destination's copy and both gateways, in the order of the daemons.
func (s *switchover) begin(ctx context.Context) (err error) {
	h := s.h
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	if s.source, err = h.ExpectMove(s.from, s.dir); err != nil {
		return err
	}
	if s.incoming, err = h.Start(ctx, s.to, true); err != nil {
		return err
	}
	for host, epoch := range map[string]uint64{s.from: h.Epoch, s.to: s.incoming} {
		if s.watches[host], err = h.watch(ctx, host, epoch); err != nil {
			return err
		}
	}
	sc, dc := s.configs()
	if s.destination, err = h.StartGateway(s.to, destination, s.dir, dc, func(e gateway.Event) {
		s.arrival.Saw(e)
		s.events <- said{destination, e}
	}); err != nil {
		return err
	}
	go s.destinationEnds()
	if err := s.daemons.listen(h.Bed.Host(s.to), dc.Listen, s.settleCommit); err != nil {
		return err
	}
	if sc.Addresses, err = s.addresses(); err != nil {
		return err
	}
	started := make(chan struct{})
	guard := gateway.NewGuard(h.budgetMs, h.marginMs, func() {
		<-started
		s.killed.Store(time.Now().UnixMicro())
		s.source.Kill()
	}, func() { <-started; go s.commitUnheard() })
	s.began = time.Now()
	err = s.source.Begin(sc, func(e gateway.Event) {
		guard.Saw(e)
		s.events <- said{source, e}
	})
	if err != nil {
		return err
	}
	close(started)
	go func() { <-s.source.Done; guard.Ended() }()
	return nil
}

func (s *switchover) configs() (gateway.SourceConfig, gateway.DestinationConfig) {
	h, id := s.h, fmt.Sprintf("%s-%d", pair.Guest, s.incoming)
	ram := uint64(guestMiB+64) << 20 // with video, firmware and ROMs
	var listen []string
	for _, lan := range lans {
		listen = append(listen, h.Address(s.to, lan)+":0")
	}
	sc := gateway.SourceConfig{Move: id, Guest: pair.Guest, QMP: h.Runners[s.from].MoveSocket(pair.Guest, h.Epoch), RunDir: s.dir,
		Policy: "bumpless", TLS: h.TLS(s.from), Peer: s.to, BudgetMs: h.budgetMs, MarginMs: h.marginMs, WakingMs: h.wakingMs, Connections: len(lans), RAMBytes: ram,
		TimeoutS: int(moveWait.Seconds()), AskToStop: true, CommitAgain: true}
	dc := gateway.DestinationConfig{Move: id, Guest: pair.Guest, QMP: h.Runners[s.to].MoveSocket(pair.Guest, s.incoming),
		TLS: h.TLS(s.to), Peer: s.from, Listen: listen, RAMBytes: ram, TimeoutS: int(moveWait.Seconds())}
	switch s.trial.waits() {
	case source:
		sc.PauseAt = s.trial.phase
	case destination:
		dc.PauseAt = s.trial.phase
	}
	return sc, dc
}

// addresses for the source: the destination's, or those of relays to them. The
// first connection goes over the first LAN, the second one over the other.
func (s *switchover) addresses() ([]string, error) {
	list, err := s.destination.Addresses()
	if err != nil || s.trial.fault == nil || !s.trial.fault.relayed {
		return list, err
	}
	for i, a := range list {
		r, err := newRelay(s.h.Bed.Host(s.from), a)
		if err != nil {
			return nil, err
		}
		s.relays = append(s.relays, r)
		list[i] = r.address()
	}
	return list, nil
}

// follow answers the source's question and brings the fault about, until the
// source's gateway has ended.
func (s *switchover) follow(ctx context.Context) error {
	for {
		select {
		case e := <-s.events:
			if err := s.hear(e); err != nil {
				return err
			}
		case <-s.source.Done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("the source's gateway does not end: %w", ctx.Err())
		}
	}
}

func (s *switchover) hear(e said) error {
	heard := time.Now()
	if s.isNow(e) {
		if err := s.trial.fault.strike(s); err != nil {
			return fmt.Errorf("bring %s about: %w", s.trial.fault.name, err)
		}
		s.row.Struck = true
		if s.passes() {
			time.AfterFunc(passing, s.undo) // cleanUp does it again
		}
	}
	if s.loaded != nil && e.side == destination && e.Phase == gateway.AtReady {
		s.loaded()
	}
	if e.side == source && e.Phase == gateway.AskingStop {
		s.source.Say("go")
	}
	if s.row.Struck && s.waitsIn(e) {
		s.row.HeldMs = milliseconds(time.Since(heard))
		s.gateway(e.side).Say("on")
	}
	return nil
}

func (s *switchover) gateway(side string) *pair.Gateway {
	if side == source {
		return s.source
	}
	return s.destination
}

// isNow: the trial's phase has come.
func (s *switchover) isNow(e said) bool {
	switch {
	case s.trial.fault == nil || s.row.Struck || e.Phase != s.trial.phase || e.Result != nil:
		return false
	case s.trial.phase == gateway.Streaming:
		return e.side == source && e.Pass != nil
	case s.trial.phase == gateway.AskingStop:
		return e.side == source
	}
	return s.waitsIn(e)
}

func (s *switchover) waitsIn(e said) bool {
	return s.trial.waits() == e.side && e.Phase == s.trial.phase
}

// passes: no deadline ends this phase, so that the fault has to pass by itself.
func (s *switchover) passes() bool {
	return s.trial.phase == gateway.Streaming || s.trial.phase == gateway.AskingStop
}

// settle does what the daemons and the log do when the source's gateway has
// ended (appliance/node, commit.go; ha/core, moves.go): the source's copy goes on
// unless it committed. If it did, COMMIT is sent again, by the daemon and then by
// the log; a copy that does not run for all that is killed before the source's may
// go on.
func (s *switchover) settle(ctx context.Context) error {
	s.noteResult()
	heard := map[string][2]time.Time{}
	heard[s.from] = s.hearOut(s.from)
	ended := time.Now()
	if !s.row.Committed && s.row.Outcome != string(gateway.Refused) {
		if err := s.goOn(ctx); err != nil {
			return err
		}
	}
	if at := s.killed.Load(); at > 0 {
		s.row.Reason += fmt.Sprintf(": the guard killed it, its end took %.0f ms", milliseconds(ended.Sub(time.UnixMicro(at))))
		if !s.resumed.IsZero() {
			s.row.Reason += fmt.Sprintf(", to continue the guest %.0f ms", milliseconds(s.resumed.Sub(ended)))
		}
	}
	s.commitLate()
	s.endDestination()
	heard[s.to] = s.hearOut(s.to)
	s.row.QEMUStopMs = s.stopOf(heard)
	running, there, err := s.running(ctx)
	if err != nil {
		return err
	}
	s.row.Copies = running
	if err := s.decide(ctx, there, heard); err != nil {
		return err
	}
	running, _, err = s.running(ctx)
	s.row.Copies = max(s.row.Copies, running)
	if err == nil && running != 1 {
		err = fmt.Errorf("%d copies run after the move", running)
	}
	return err
}

// commitLate: a move that committed and did not end well is in doubt, unless the
// destination's daemon says that the guest runs.
func (s *switchover) commitLate() {
	if !s.row.Committed || s.row.Outcome == string(gateway.Moved) {
		return
	}
	runs := s.again.Soon()
	if a := s.answer.Load(); a != nil {
		s.row.Reason += fmt.Sprintf("; COMMIT was sent again through the daemons, and answered after %d ms: %s", a.after.Milliseconds(), a.text)
	}
	if !runs {
		s.row.Unanswered = true
		// The log has the move in doubt, and the destination's host hears of it.
		s.row.Reason += "; told by the log, the destination's daemon says: " + s.settleCommit()
	}
}

// decide carries out what the log says.
func (s *switchover) decide(ctx context.Context, there bool, heard map[string][2]time.Time) error {
	switch {
	case there && !s.row.Committed:
		return errors.New("the destination's copy runs although the source did not commit")
	case there:
		s.row.RunsAt = destination
		return errors.Join(s.h.Kill(ctx, s.from, s.h.Epoch), s.h.Arrived(s.to, s.incoming))
	case s.row.Outcome == string(gateway.Moved):
		return errors.New("moved, and the destination's copy does not run")
	}
	s.row.RunsAt = source
	err := s.h.Kill(ctx, s.to, s.incoming)
	if err == nil && s.row.Committed { // proved: it never ran
		err = s.goOn(ctx)
		s.row.QEMUStopMs = s.stopOf(heard)
	}
	return err
}

func (s *switchover) noteResult() {
	s.row.Outcome, s.row.Reason = noWord, "the source's gateway died"
	_, err := os.Lstat(filepath.Join(s.dir, gateway.CommittedMarker))
	s.row.Committed = err == nil
	r := s.source.Result
	if r == nil {
		return
	}
	s.row.Outcome, s.row.Reason = string(r.Outcome), r.Reason
	if r.Outcome != gateway.InDoubt {
		s.row.StopMs = r.StopMs
	}
	if r.StopMs > 0 {
		s.row.Parts = &r.Parts
	}
	if r.Outcome == gateway.Moved && (!r.DigestEqual || !s.row.Committed) {
		s.row.Violations = append(s.row.Violations, "moved without equal digests, or without a marker")
	}
}

func (s *switchover) hearOut(host string) [2]time.Time {
	stopped, resumed := s.watches[host].close()
	return [2]time.Time{stopped, resumed}
}

// goOn continues the source's copy. One that runs is none the worse for it, and
// to look first would take time.
func (s *switchover) goOn(ctx context.Context) error {
	if s.letGo != nil {
		s.letGo()
	}
	ctx, cancel := context.WithTimeout(ctx, continueFor)
	defer cancel()
	err := s.h.Runners[s.from].Continue(ctx, pair.Guest, s.h.Epoch)
	s.resumed = time.Now()
	return err
}

// endDestination ends the destination's gateway as its daemon would: asked, and
// killed a second later.
func (s *switchover) endDestination() {
	if s.row.Outcome == string(gateway.Moved) {
		wait(s.destination.Done, endWait)
	}
	s.destination.LetGo()
	wait(s.destination.Done, abortGrace)
	s.destination.End()
	<-s.arrived
}

func wait(done <-chan struct{}, limit time.Duration) {
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// stopOf is how long the guest was stopped, as the QEMUs said.
func (s *switchover) stopOf(heard map[string][2]time.Time) float64 {
	stopped := heard[s.from][0]
	if stopped.IsZero() {
		return 0
	}
	var first time.Time
	for _, at := range []time.Time{heard[s.from][1], heard[s.to][1], s.resumed} {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	if first.IsZero() {
		return 0 // it does not run yet
	}
	return milliseconds(first.Sub(stopped))
}

// running asks every copy, also one that should be gone.
func (s *switchover) running(ctx context.Context) (n int, there bool, err error) {
	for host, runner := range s.h.Runners {
		copies, err := runner.Find()
		if err != nil {
			return 0, false, err
		}
		for _, c := range copies {
			if runner.Look(ctx, c) == guest.Running {
				n++
				there = there || (host == s.to && c.Epoch == s.incoming)
			}
		}
	}
	return n, there, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// undo heals what the fault broke. cleanUp does it again, and says if that failed.
func (s *switchover) undo() {
	for _, f := range s.heal {
		_ = f()
	}
}

// cleanUp leaves nothing of the move but the guest.
func (s *switchover) cleanUp() error {
	if s.letGo != nil {
		s.letGo()
	}
	for _, g := range []*pair.Gateway{s.source, s.destination} {
		if g != nil {
			g.End()
		}
	}
	s.daemons.close()
	for _, w := range s.watches {
		if w != nil {
			w.close()
		}
	}
	var errs []error
	for _, f := range s.heal {
		errs = append(errs, f())
	}
	for _, r := range s.relays {
		errs = append(errs, r.close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
