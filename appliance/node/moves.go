package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"bumpless/appliance/api"
	"bumpless/appliance/config"
	"bumpless/ha/core"
	"bumpless/migrate/gateway"
)

// moves are the gateways that this daemon runs.
type moves struct {
	mu   sync.Mutex
	live map[string]*gatewayProcess // by move
}

func (m *moves) add(id string, g *gatewayProcess) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live == nil {
		m.live = map[string]*gatewayProcess{}
	}
	m.live[id] = g
}

func (m *moves) get(id string) *gatewayProcess {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.live[id]
}

func (m *moves) remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.live, id)
}

// abandon lets go of all gateways: one that has not committed rolls back when
// its standard input closes.
func (m *moves) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.live {
		g.LetGo()
	}
}

func (m *moves) allowStop(id string) {
	if g := m.get(id); g != nil {
		g.Say("go") // one that died is reported by its end
	}
}

const (
	source      = "source"
	destination = "destination"
	abortGrace  = time.Second
)

// prepareIncoming creates the incoming copy and its gateway. What this host
// cannot take is refused here, before anything is sent.
func (n *Node) prepareIncoming(a core.PrepareIncoming) {
	m := a.Move
	ctx, cancel := context.WithTimeout(n.ctx, startTimeout)
	defer cancel()
	err := n.admit(ctx, m.Guest, m.From)
	if err == nil {
		err = n.start(m.Guest, m.Epoch, a.NotAfter, true)
	}
	n.loop.post(n.ctx, core.GuestStarted{Guest: m.Guest, Epoch: m.Epoch, Err: errorText(err)})
	if err == nil {
		n.observe()
		err = n.runGateway(m, destination, n.destinationConfig(m))
	}
	if err != nil {
		n.log.Error("prepare for a move", "move", m.ID, "error", err)
		n.loop.post(n.ctx, core.MoveResult{Move: m.ID, Outcome: core.Refused, Why: err.Error()})
	}
}

// deltaCacheMiB as the gateways want it, to which 0 is their own default.
func (n *Node) deltaCacheMiB(guest string) int {
	if m := n.hypervisor.Specs[guest].DeltaCacheMiB; m > 0 {
		return m
	}
	return -1
}

func (n *Node) destinationConfig(m core.Move) gateway.DestinationConfig {
	return gateway.DestinationConfig{Move: m.ID, Guest: m.Guest, QMP: n.hypervisor.MoveSocket(m.Guest, m.Epoch), TLS: n.certificates(),
		Peer: m.From, Listen: listenAt(n.self.Addresses(), 0), RAMBytes: n.ramBytes(m.Guest), TimeoutS: n.site.Move.TimeoutS + 60,
		WakingMs:   n.wakings.keep(m.Guest, n.site.Move.WakingMs),
		LocalDisks: n.hypervisor.Specs[m.Guest].LocalNodes(), DeltaCacheMiB: n.deltaCacheMiB(m.Guest)}
}

// ramBytes bounds what a guest's stream may announce, at both ends.
func (n *Node) ramBytes(guest string) uint64 {
	return uint64(n.hypervisor.Specs[guest].MemoryMiB+overheadMiB) << 20
}

// overheadMiB beside the guest's RAM that its stream may announce: video,
// firmware, ROMs.
const overheadMiB = 64

// runMove runs the source's gateway.
func (n *Node) runMove(a core.RunMove) {
	ctx, cancel := context.WithTimeout(n.ctx, startTimeout)
	defer cancel()
	if here, err := n.hypervisor.Probe(ctx); err == nil {
		// A drain comes here without an operator's order having been checked.
		if err := here.Lets(n.hypervisor.Specs[a.Move.Guest]); err != nil {
			n.loop.post(n.ctx, core.MoveResult{Move: a.Move.ID, Outcome: core.Refused, Why: err.Error()})
			return
		}
	}
	n.traces.yield(a.Move.Guest) // until followGateway
	err := n.hypervisor.MarkRan(a.Move.Guest, a.Epoch)
	if err == nil {
		err = n.runGateway(a.Move, source, n.sourceConfig(a))
	}
	if err != nil {
		n.traces.moved(a.Move.Guest)
		n.expected.ended(a.Move.ID)
		n.log.Error("begin a move", "move", a.Move.ID, "error", err)
		n.loop.post(n.ctx, core.MoveResult{Move: a.Move.ID, Outcome: core.Failed, Why: err.Error()})
	}
}

// sourceConfig takes the copy's epoch from the order: the log may have gone on
// since.
func (n *Node) sourceConfig(a core.RunMove) gateway.SourceConfig {
	m, move := a.Move, n.site.Move
	return gateway.SourceConfig{Move: m.ID, Guest: m.Guest, QMP: n.hypervisor.MoveSocket(m.Guest, a.Epoch), RunDir: string(n.moveDir(m.ID)),
		Policy: move.Policy, TLS: n.certificates(), Peer: m.To, Addresses: m.Addresses, LANs: lansOf(n.site.Links), RAMBytes: n.ramBytes(m.Guest),
		BudgetMs: m.BudgetMs, MarginMs: move.MarginMs, WakingMs: move.WakingMs, Connections: move.Connections, TimeoutS: move.TimeoutS, AskToStop: true, CommitAgain: true,
		LocalDisks: n.hypervisor.Specs[m.Guest].LocalNodes(), DeltaCacheMiB: n.deltaCacheMiB(m.Guest)}
}

// lansOf the addresses that a destination announces: it listens at its own, LAN
// A's first.
func lansOf(links config.Links) (list []gateway.LAN) {
	for _, l := range links.InOrder() {
		list = append(list, gateway.LAN{CapacityMbitPerS: l.CapacityMbitPerS, ReserveMbitPerS: l.ReserveMbitPerS})
	}
	return list
}

// runGateway starts a gateway and follows it to its end.
func (n *Node) runGateway(m core.Move, role string, cfg any) error {
	dir := n.moveDir(m.ID)
	if err := dir.create(); err != nil {
		return err
	}
	f := following{move: m, role: role}
	f.again = gateway.NewRecommit(func() bool { return n.commitAgain(m) })
	f.guard = gateway.NewGuard(m.BudgetMs, n.site.Move.MarginMs, func() { n.endSilentGateway(m) }, func() { n.commitUnheard(m, f.again) })
	var arrives *gateway.Arrival
	if role == destination {
		arrives = gateway.NewArrival()
		f.ear = n.listenTo(m)
	}
	g, err := n.gatewayOf(m, role)
	if err != nil {
		f.ear.close()
		return err
	}
	err = g.Begin(cfg, func(e gateway.Event) {
		if role == source {
			f.guard.Saw(e)
		} else {
			arrives.Saw(e)
			f.ear.saw(e)
		}
		n.gatewaySaid(m, role, e)
	})
	if err != nil {
		f.ear.close()
		return err
	}
	g.arrival = arrives
	n.moves.add(m.ID, g)
	go n.followGateway(g, f)
	return nil
}

// gatewayOf a move, which has not begun: the one that was expected, or a new one.
func (n *Node) gatewayOf(m core.Move, role string) (*gatewayProcess, error) {
	if role == source {
		if g := n.expected.begin(m.ID); g != nil && g.Lives() {
			return g, nil
		}
	}
	return spawnGateway(n.binary, role, string(n.moveDir(m.ID)))
}

// following is what the daemon knows of a gateway that it follows.
type following struct {
	move  core.Move
	role  string
	guard *gateway.Guard
	again *gateway.Recommit // of a source
	ear   *ear              // of a destination; nil: none
}

// commitUnheard: a source's gateway waits for RUNNING for longer than it takes.
// When the destination's daemon does not make it run either, the log decides, and
// begins when the gateway has ended.
func (n *Node) commitUnheard(m core.Move, again *gateway.Recommit) {
	runs, g := again.Answered(), n.moves.get(m.ID)
	switch {
	case g == nil:
	case runs:
		g.Say("runs") // one that died is reported by its end
	default:
		g.Kill()
	}
}

// endSilentGateway kills a source's gateway whose guest is stopped for as long as
// its budget allows, or that does not end when the guest runs elsewhere.
// followGateway reports its end, and core goes on from there.
func (n *Node) endSilentGateway(m core.Move) {
	if g := n.moves.get(m.ID); g != nil {
		n.log.Warn("a gateway says nothing for longer than it may: killed", "move", m.ID, "budget_ms", m.BudgetMs)
		g.Kill()
	}
}

// followGateway reports the end, once the process is gone.
func (n *Node) followGateway(g *gatewayProcess, f following) {
	<-g.Done
	f.guard.Ended()
	f.ear.close()
	if g.Garbled != nil {
		n.log.Warn("a gateway was not understood", "move", f.move.ID, "error", g.Garbled)
	}
	r := core.MoveResult{Move: f.move.ID, Outcome: core.Failed, Why: "its gateway ended without a word"}
	if g.Result != nil {
		r.Outcome, r.Why = outcomes[g.Result.Outcome], g.Result.Reason
	}
	if r.Outcome == "" {
		r.Outcome = core.Failed
	}
	if f.role == source {
		n.sourceEnded(f, &r)
	} else {
		n.destinationEnded(g.arrival, f.move, &r)
	}
	n.moves.remove(f.move.ID)
	n.expected.ended(f.move.ID)
	n.log.Info("gateway ended", "move", f.move.ID, "side", f.role, "outcome", r.Outcome, "committed", r.Committed, "why", r.Why)
	n.observe() // core must have looked after the gateway's end
	n.loop.post(n.ctx, r)
	n.observe()
	if f.role == source && g.Result != nil && g.Result.LinkBroke {
		n.tryAgain(f.move, *g.Result)
	}
}

func (n *Node) sourceEnded(f following, r *core.MoveResult) {
	n.traces.moved(f.move.Guest)
	r.Committed = r.Outcome != core.Moved && n.moveDir(f.move.ID).committed(gateway.CommittedMarker)
	if r.Committed && f.again.Soon() {
		r.Outcome, r.Committed, r.Why = core.Moved, false, "the destination's daemon says that it runs there: "+r.Why
	}
}

func (n *Node) destinationEnded(a *gateway.Arrival, m core.Move, r *core.MoveResult) {
	runs, why := a.End(n.ctx, r.Outcome == core.Moved, func() error { return n.runIncoming(m) })
	switch {
	case runs && r.Outcome != core.Moved:
		r.Outcome, r.Why = core.Moved, "continued in its gateway's place: "+r.Why
	case !runs:
		r.Why += "; " + why
	}
}

var outcomes = map[gateway.Outcome]core.Outcome{
	gateway.Moved: core.Moved, gateway.RolledBack: core.RolledBack, gateway.Refused: core.Refused,
	gateway.Failed: core.Failed, gateway.InDoubt: core.Failed,
}

// gatewaySaid takes in one line of a gateway.
func (n *Node) gatewaySaid(m core.Move, role string, e gateway.Event) {
	switch {
	case role == destination:
		if len(e.Addresses) > 0 {
			n.loop.post(n.ctx, core.IncomingReady{Move: m.ID, Addresses: e.Addresses})
		}
		if e.Result != nil && e.Phase == gateway.Connecting {
			n.log.Warn("a connection of a move was refused", "move", m.ID, "why", e.Result.Reason)
		}
		return
	case e.Phase == gateway.AskingStop:
		go n.askBeforeStop(m)
	case e.Unreached != "":
		n.log.Warn("a LAN does not reach the destination: the move goes over the other one", "move", m.ID, "to", m.To, "why", e.Unreached)
		return
	}
	p := api.Progress{AtMs: time.Now().UnixMilli(), Move: m.ID, Guest: m.Guest, From: m.From, To: m.To, Phase: string(e.Phase)}
	if e.Pass != nil {
		p.Pass = &api.Pass{Number: e.Pass.Number, Pages: e.Pass.Pages, HeldBytes: e.Pass.HeldBytes, QueuedBytes: e.Pass.QueuedBytes,
			LinkBytes: e.Pass.LinkBytes, LinkBytesPerS: e.Pass.LinkBytesPerS, EstimateMs: e.Pass.EstimateMs}
	}
	if e.Result != nil {
		p.Phase, p.Outcome, p.Reason = "ended", string(e.Result.Outcome), e.Result.Reason
		p.Result, _ = json.Marshal(e.Result) // plain numbers and strings
	}
	n.progress.publish(p)
}

// askBeforeStop runs the site's own check, then asks core. The check comes
// first: the lease must be looked at last.
func (n *Node) askBeforeStop(m core.Move) {
	if err := n.beforeStop(m); err != nil {
		n.log.Warn("the stop was not allowed", "move", m.ID, "error", err)
		if g := n.moves.get(m.ID); g != nil {
			g.Refuse(err.Error()) // one that died is reported by its end
		}
		return
	}
	n.loop.post(n.ctx, core.MoveAsksToStop{Move: m.ID})
}

func (n *Node) beforeStop(m core.Move) error {
	program := n.site.Move.BeforeStop
	if program == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(n.ctx, config.Ms(n.site.Move.BeforeStopMs))
	defer cancel()
	out, err := exec.CommandContext(ctx, program, m.Guest, m.From, m.To).CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("move.before_stop: it did not end within %d ms (move.before_stop_ms)", n.site.Move.BeforeStopMs)
	}
	if err != nil {
		return fmt.Errorf("move.before_stop: %w: %.200s", err, bytes.TrimSpace(out))
	}
	return nil
}

// abortMove ends this host's gateway of the move, and only then looks for the
// commit marker: a gateway that lives could still commit.
func (n *Node) abortMove(a core.AbortMove) {
	ctx, cancel := context.WithTimeout(n.ctx, killTimeout)
	defer cancel()
	n.log.Info("abort a move", "move", a.Move, "why", a.Why)
	if g := n.moves.get(a.Move); g != nil {
		if g.arrival != nil && n.inDoubt(a.Move) {
			// The log says that the source has committed: nobody waits for this
			// gateway's last word.
			g.arrival.Commit()
			g.Kill()
		}
		g.Abort(ctx, abortGrace, a.Why) // followGateway reports
		return
	}
	dir := n.moveDir(a.Move)
	for _, role := range []string{source, destination} {
		if err := dir.endStray(ctx, role); err != nil {
			n.log.Error("end a former daemon's gateway", "move", a.Move, "error", err)
			return // core asks again
		}
	}
	n.observe()
	n.loop.post(n.ctx, core.MoveResult{Move: a.Move, Outcome: core.Failed, Committed: dir.committed(gateway.CommittedMarker), Why: a.Why})
	n.observe()
}

func (n *Node) inDoubt(move string) bool {
	m, ok := n.loop.snapshot().State().FindMove(move)
	return ok && m.Phase == core.InDoubt
}
