package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/policy"
	"bumpless/migrate/qmp"
)

// source is the state of one move at its source.
type source struct {
	cfg    SourceConfig
	report func(Event)
	ask    Asker
	began  time.Time

	policy policy.Policy
	qemu   *qmp.Client
	pipe   *net.UnixConn // our end of the socketpair
	meter  link.Meter
	send   *sender
	rate   rate
	lag    *lag             // from connect on; nil: the destination does not tell
	dirty  policy.DirtyRate // the reader's alone
	pace   *pacer           // from connect on
	hasher *hasher
	key    []byte
	// granted slots: what the destination keeps of each connection; kinds of
	// pages that it knows, up to this one.
	granted int
	kinds   link.Kind

	mirrors mirrors

	lookout  *lookout  // until RAM START; nil: the guest's memory cannot be read, or need not
	table    *table    // from RAM START on
	recorder *recorder // while a trace is recorded; the reader's alone
	ram      uint64
	result   Result
	hurry    chan struct{} // closed when the guest is being stopped
	decided  chan policy.Decision
	goOn     chan struct{} // after a decision to switch: another pass, the answer is not there yet
	resume   chan struct{} // closed when the rest of the stream may be read
	leave    leave
	ended    chan ending    // the stream was read to its end
	reading  sync.WaitGroup // the reader
	frames   chan link.Frame
	early    *link.Frame // READY, when it was seen before the end of DRAIN
	broken   chan error
	passes   atomic.Uint32
	once     sync.Once
}

// ending is the end of the source's stream.
type ending struct {
	tail             []byte
	ramEnd, tailDone time.Time
	err              error
}

// Bounds on single steps, each far above what was seen.
const (
	prepareWait  = 60 * time.Second // for everything before the first page
	dialTimeout  = 10 * time.Second // for the first word of a peer that is connected
	qmpTimeout   = 10 * time.Second
	stopAlone    = 10 * time.Millisecond // for `stop`, before the stream is read beside it: it takes 1 to 3 ms
	runningWait  = 5 * time.Second       // for RUNNING, after COMMIT
	releaseWait  = 2 * time.Second       // for the source's QEMU to finish, after RUNNING
	streamBuffer = 256 << 10             // of the stream, in bytes
	sampleWindow = 100 * time.Millisecond
)

func (c *SourceConfig) defaults() error {
	fill := func(n *int, standard int) {
		if *n == 0 {
			*n = standard
		}
	}
	fill(&c.MarginMs, 20)
	fill(&c.Connections, 2)
	fill(&c.PassIntervalMs, 200)
	fill(&c.FixedMs, 25)
	fill(&c.TimeoutS, 600)
	fill(&c.HeldMiB, 512)
	if c.RAMBytes == 0 {
		c.RAMBytes = defaultRAMBytes
	}
	switch {
	case c.Connections < 1 || c.Connections > maxConnections:
		return fmt.Errorf("connections: %d, want 1 to %d", c.Connections, maxConnections)
	case c.BudgetMs <= c.MarginMs:
		return fmt.Errorf("budget_ms: %d must be more than margin_ms, %d", c.BudgetMs, c.MarginMs)
	case c.WakingMs < 0 || c.WakingMs > MaxWakingMs:
		return fmt.Errorf("waking_ms: %d, want 0 to %d", c.WakingMs, MaxWakingMs)
	case c.PassIntervalMs < 1 || c.PassIntervalMs > 60_000:
		return fmt.Errorf("pass_interval_ms: %d, want 1 to 60000", c.PassIntervalMs)
	case c.DeltaCacheMiB > 1<<20:
		return fmt.Errorf("delta_cache_mib: %d, want at most %d", c.DeltaCacheMiB, 1<<20)
	case c.HeldMiB < 1 || c.HeldMiB > 1<<20:
		return fmt.Errorf("held_mib: %d, want 1 to %d", c.HeldMiB, 1<<20)
	}
	return nil
}

// RunSource moves the guest away. It returns when the guest's place is decided;
// the error is nil whenever Result.Outcome says how it ended.
func RunSource(ctx context.Context, cfg SourceConfig, report func(Event), ask Asker) (Result, error) {
	if err := cfg.defaults(); err != nil {
		return Result{}, fmt.Errorf("move %s: %w", cfg.Move, err)
	}
	p, err := policy.New(cfg.Policy)
	if err != nil {
		return Result{}, fmt.Errorf("move %s: %w", cfg.Move, err)
	}
	ctx, cancel := limited(ctx, time.Duration(cfg.TimeoutS)*time.Second, "the move's time of %d s (move.timeout_s)", cfg.TimeoutS)
	defer cancel()
	s := &source{cfg: cfg, lookout: cfg.expected, report: report, ask: ask, began: time.Now(), policy: p,
		hurry: make(chan struct{}), decided: make(chan policy.Decision), goOn: make(chan struct{}), resume: make(chan struct{}), leave: leave{answer: make(chan error, 1)},
		ended: make(chan ending, 1), frames: make(chan link.Frame, 16), broken: make(chan error, 1)}
	s.result = Result{Policy: cfg.Policy, BudgetMs: cfg.BudgetMs}
	defer s.close()
	if err := s.prepare(ctx); err != nil {
		outcome := Failed
		if errors.As(err, new(noRoom)) {
			outcome = Refused
		}
		s.finish(outcome, err)
		return s.result, nil
	}
	s.stream(ctx)
	return s.result, nil
}

func (s *source) phase(p Phase) { s.report(Event{Phase: p, AtMs: ms(time.Since(s.began))}) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// finish says how the move ended; err is why it did not go as it should.
func (s *source) finish(o Outcome, err error) {
	s.result.Outcome, s.result.Reason = o, orText(err, "")
	s.result.LinkBroke = o == Failed && len(s.cfg.Addresses) > 1 && isLink(err)
	s.result.TotalS = time.Since(s.began).Seconds()
	s.result.DiskBytes = s.mirrors.meter.Sent.Load() + s.mirrors.meter.Received.Load()
	s.result.LinkBytes = s.meter.Sent.Load() + s.meter.Received.Load()
	if s.result.Passes = s.passes.Load(); s.result.Passes > 0 {
		s.result.RAMBytes, s.result.ReadBytes = s.ram, s.table.readBytes()
	}
}

// readOn lets the reader go on to the end of the stream without pacing.
func (s *source) readOn() {
	s.once.Do(func() {
		close(s.hurry)
		close(s.resume)
	})
}

func (s *source) close() {
	s.readOn()
	if s.passes.Load() > 0 {
		s.table.close()
	}
	if s.pace != nil {
		s.pace.close()
	}
	if s.send != nil {
		s.send.abort()
	}
	if s.pipe != nil {
		s.pipe.Close()
	}
	s.reading.Wait()
	s.lookout.discard() // the reader has not taken it
	s.removeMirrors()
	if s.qemu != nil {
		s.qemu.Close()
	}
}

// prepare connects both ends. The guest is not touched before the destination
// has accepted.
func (s *source) prepare(ctx context.Context) error {
	s.phase(Connecting)
	within, cancel := limited(ctx, prepareWait, "the %s to prepare a move", prepareWait)
	defer cancel()
	var err error
	if s.qemu, err = qmp.Dial(within, s.cfg.QMP); err != nil {
		return err
	}
	if err := s.checkGuest(within); err != nil {
		return err
	}
	if s.lookout, err = s.takeLookout(); err != nil {
		return err
	}
	if err := s.connectAndConfigure(within); err != nil {
		return err
	}
	if err := s.mirrorDisks(ctx); err != nil { // it may take long
		return err
	}
	within, cancel = limited(ctx, prepareWait, "the %s to prepare a move", prepareWait)
	defer cancel()
	return s.startMigration(within)
}

// connectAndConfigure at a time: QEMU takes as long for its settings as two hosts for a
// handshake.
func (s *source) connectAndConfigure(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	configured := make(chan error, 1)
	go func() { configured <- s.configure(ctx) }()
	if err := s.connect(ctx); err != nil {
		cancel()
		<-configured // nobody else may use the monitor meanwhile
		return err
	}
	return <-configured
}

// stream runs from the start of the migration to the outcome.
func (s *source) stream(ctx context.Context) {
	s.phase(Streaming)
	s.pace.enter(together)
	// The first window begins with the stream: a small guest over a fast link
	// is through before a second one ends.
	s.rate.sample(time.Now(), s.meter.Sent.Load(), false)
	s.reading.Go(s.read)
	go s.sampleRate(ctx)
	go s.watchLANs()
	if s.lag != nil {
		for i, o := range s.send.conns {
			go s.lag.run(i, o, s.hurry)
		}
	}
	s.startWatching()
	defer s.stopWatching()
	for {
		select {
		case d := <-s.decided:
			if d.Verdict == policy.Refuse {
				s.result.EstimateMs = ms(d.Estimate)
				s.giveUp(Refused, errors.New(d.Reason))
				return
			}
			stop, over := s.mayStop(ctx, d)
			if stop {
				stop, over = s.mayStillStop(ctx)
			}
			switch {
			case stop:
				s.switchover(ctx, d.Estimate)
				return
			case over:
				return
			}
			s.goOn <- struct{}{}
		case err := <-s.leave.answer:
			if !s.answered(err) {
				return
			}
		case e := <-s.ended:
			// The stream ended without our stopping the guest: QEMU failed, or
			// somebody else paused the guest.
			s.giveUp(Failed, cmp.Or(e.err, errors.New("the source's migration ended before the switchover (was the guest paused?)")))
			return
		case f := <-s.frames:
			s.giveUp(Failed, unexpected(f))
			return
		case err := <-s.send.failed:
			s.giveUp(Failed, s.why(err))
			return
		case err := <-s.broken:
			s.giveUp(Failed, s.why(err))
			return
		case <-ctx.Done():
			s.giveUp(Failed, context.Cause(ctx))
			return
		}
	}
}

// rather says what the link or the destination has said already, if anything: what a
// broken link has broken here explains nothing.
func (s *source) rather(err error) error {
	if lost := s.lost(); lost != nil {
		return lost
	}
	return err
}

// why a link broke: the destination's last word says more than a reset.
func (s *source) why(err error) error {
	select {
	case f := <-s.frames:
		return unexpected(f)
	default:
		return err
	}
}

func orText(err error, text string) string {
	if err == nil {
		return text
	}
	return err.Error()
}

// whole tells whether both ends still are: what broke meanwhile would be noticed
// with the guest stopped.
func (s *source) whole() bool {
	err := s.lost()
	if err != nil {
		s.giveUp(Failed, err)
	}
	return err == nil
}

// lost tells, without waiting, whether the destination has given up or the link
// has broken.
func (s *source) lost() error {
	select {
	case f := <-s.frames:
		return unexpected(f)
	case err := <-s.send.failed:
		return s.why(err)
	case err := <-s.broken:
		return s.why(err)
	default:
		return nil
	}
}

// unexpected says what a frame means that was not waited for.
func unexpected(f link.Frame) error {
	if f.Type != link.Abort {
		return fmt.Errorf("the destination sent an unexpected %s frame", f.Type)
	}
	err := fmt.Errorf("the destination gave up: %s", f.Body)
	if f.Count == link.LinkBroke {
		return brokenLink{err}
	}
	return err
}

// giveUp ends a move whose guest was never stopped by us.
func (s *source) giveUp(o Outcome, why error) {
	s.send.abort()
	s.cutMirrors()
	s.pipe.Close()
	ctx, cancel := context.WithTimeout(context.Background(), qmpTimeout)
	defer cancel()
	if err := s.cancelMigration(ctx); err != nil {
		why = fmt.Errorf("%w; %w", why, err)
	}
	s.finish(o, why)
}

// sampleRate measures the link while it is saturated.
func (s *source) sampleRate(ctx context.Context) {
	ticker := time.NewTicker(sampleWindow)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.hurry:
			return
		case <-ticker.C:
			now := time.Now() // the ticker's own time can be long past
			busy := false
			if s.passes.Load() > 0 { // the table is there
				busy = !s.table.ranDry()
			}
			s.rate.sample(now, s.meter.Sent.Load()-s.send.unsent(), busy)
		}
	}
}

// linkBytesPerS is what memory may count on: what was measured, but no more than
// it may use now.
func (s *source) linkBytesPerS() float64 {
	measured := s.rate.bytesPerS()
	if limit, _, ok := s.pace.limit(); ok {
		return min(measured, limit)
	}
	return measured
}
