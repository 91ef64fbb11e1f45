package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/link/linktest"
)

// bench is a move between two fake QEMUs.
type bench struct {
	t           testing.TB
	src, dst    *fakeQEMU
	site        *linktest.Site
	source      SourceConfig
	destination DestinationConfig
	ask         Asker
	valve       *valve
	lans        func(address string) []string // in place of the valve
	onEvent     func(side string, e Event)
	strangers   func(address string) // come before the source

	stopSource, stopDestination context.CancelCauseFunc
	results                     [2]chan Result
	refused                     chan string // connections that the destination refused
}

func files(s *linktest.Site, name string) link.Files {
	cert, key, ca := s.Host(name)
	return link.Files{Cert: cert, Key: key, CA: ca}
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, src: newFake(t, "running"), dst: newFake(t, "inmigrate"), site: linktest.NewSite(t), valve: &valve{t: t}, refused: make(chan string, 100)}
	b.source = SourceConfig{Move: "m", Guest: "g", QMP: b.src.Path, RunDir: t.TempDir(), Policy: "precopy", TLS: files(b.site, "src"), Peer: "dst",
		BudgetMs: 2000, MarginMs: 50, PassIntervalMs: 20}
	b.destination = DestinationConfig{Move: "m", Guest: "g", QMP: b.dst.Path, TLS: files(b.site, "dst"), Peer: "src", Listen: []string{"127.0.0.1:0"}}
	return b
}

// begin starts both gateways; the link goes through the valve.
func (b *bench) begin() {
	b.t.Helper()
	b.src.run()
	b.dst.run()
	var ctx [2]context.Context
	ctx[0], b.stopSource = context.WithCancelCause(context.Background())
	ctx[1], b.stopDestination = context.WithCancelCause(context.Background())
	var running sync.WaitGroup // they hold the memory file, and the next test's must be the only one
	b.t.Cleanup(func() { b.stopSource(nil); b.stopDestination(nil); running.Wait() })
	b.results = [2]chan Result{make(chan Result, 1), make(chan Result, 1)}
	addresses := make(chan []string, 1)
	running.Go(func() {
		r, err := RunDestination(ctx[1], b.destination, func(e Event) {
			if len(e.Addresses) > 0 {
				addresses <- e.Addresses
			}
			if e.Phase == Connecting && e.Result != nil {
				b.refused <- e.Result.Reason
			}
			b.tell("destination", e)
		})
		b.results[1] <- ended(r, err)
	})
	select {
	case a := <-addresses:
		if b.strangers != nil {
			b.strangers(a[0])
		}
		if b.lans == nil {
			b.lans = func(a string) []string { return []string{b.valve.to(a)} }
		}
		b.source.Addresses = b.lans(a[0])
	case <-time.After(10 * time.Second):
		b.t.Fatal("the destination does not listen")
	}
	running.Go(func() {
		r, err := RunSource(ctx[0], b.source, func(e Event) { b.tell("source", e) }, b.ask)
		b.results[0] <- ended(r, err)
	})
}

func ended(r Result, err error) Result {
	if err != nil {
		r.Outcome, r.Reason = Failed, err.Error()
	}
	return r
}

func (b *bench) tell(side string, e Event) {
	if b.onEvent != nil {
		b.onEvent(side, e)
	}
}

func (b *bench) result(side int) Result {
	b.t.Helper()
	select {
	case r := <-b.results[side]:
		return r
	case <-time.After(30 * time.Second):
		b.t.Fatalf("a gateway does not end; at work are:\n%s", strings.Join(atWork(), "\n\n"))
		return Result{}
	}
}

func (b *bench) committed() bool {
	_, err := os.Stat(filepath.Join(b.source.RunDir, CommittedMarker))
	return err == nil
}

// guest checks where the guest runs: "src", "dst", or "" for a source that is
// paused for good.
func (b *bench) guest(where string) {
	b.t.Helper()
	src, _ := b.src.is()
	dst, _ := b.dst.is()
	want := map[string][2]bool{"src": {true, false}, "dst": {false, true}, "": {false, false}}[where]
	if have := [2]bool{src == "running", dst == "running"}; have != want {
		b.t.Errorf("source %s, destination %s; want the guest to run at %q", src, dst, where)
	}
}

// valve is a link that can be shut: nothing is lost, nothing passes.
type valve struct {
	t    testing.TB
	mu   sync.Mutex
	shut chan struct{} // not nil while it is shut; closed when it opens

	delay atomic.Int64 // ns, of what comes at a time
}

func (v *valve) to(address string) string {
	v.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(v.t, err)
	v.t.Cleanup(func() { v.open(); l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			v.t.Cleanup(func() { in.Close() })
			out, err := net.Dial("tcp", address)
			if err != nil {
				in.Close()
				continue
			}
			v.t.Cleanup(func() { out.Close() })
			go v.pass(in, out)
			go v.pass(out, in)
		}
	}()
	return l.Addr().String()
}

func (v *valve) pass(from, to net.Conn) {
	defer func() { _ = to.(*net.TCPConn).CloseWrite() }() // closed already is fine
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		v.mu.Lock()
		shut := v.shut
		v.mu.Unlock()
		if shut != nil {
			<-shut
		}
		time.Sleep(time.Duration(v.delay.Load()))
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			if err != io.EOF {
				from.Close() // an error is passed on; an end leaves the other way open
				to.Close()
			}
			return
		}
	}
}

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = make(chan struct{})
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut != nil {
		close(v.shut)
		v.shut = nil
	}
}

// Over a long way a handshake takes as long as a pass.
func TestAllConnectionsShakeHandsAtATime(t *testing.T) {
	const delay, connections = 150 * time.Millisecond, 8
	b := newBench(t)
	b.source.Connections = connections
	b.valve.delay.Store(int64(delay))
	streams := make(chan float64, 1)
	b.onEvent = func(side string, e Event) {
		if side == "source" && e.Phase == Streaming && b.valve.delay.Swap(0) > 0 {
			streams <- e.AtMs
		}
	}
	b.begin()
	if r := b.result(0); r.Outcome != Moved {
		t.Fatalf("%+v; want moved", r)
	}
	if took := <-streams; took > 0.75*connections*ms(2*delay) {
		t.Errorf("%d connections over %v there and as much back took %.0f ms; want about 2 times that, not %d", connections, delay, took, connections)
	}
}

func TestAGuestMovesWithAllItsMemory(t *testing.T) {
	for _, policy := range []string{"precopy", "delayed", "bumpless"} {
		for _, connections := range []int{1, 2, 5} {
			b := newBench(t)
			b.source.Policy, b.source.Connections, b.src.hot = policy, connections, 40
			b.begin()
			s, d := b.result(0), b.result(1)
			if s.Outcome != Moved || d.Outcome != Moved || !s.DigestEqual || !b.committed() {
				t.Fatalf("%s, %d connections: %+v, %+v; want moved", policy, connections, s, d)
			}
			b.guest("dst")
			if s.RAMBytes != fakePages*4096 || s.LinkBytes == 0 || s.Passes < 2 || s.StopMs <= 0 || s.Parts.ReadyMs > s.Parts.RunningMs {
				t.Errorf("%s: figures %+v", policy, s)
			}
			if !maps.Equal(b.src.image(), b.dst.image()) {
				t.Errorf("%s: the destination's memory is not the source's", policy)
			}
		}
	}
}

// image is a copy of the pages that are not zero.
func (q *fakeQEMU) image() map[uint64]uint32 {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := maps.Clone(q.memory)
	maps.DeleteFunc(m, func(_ uint64, fill uint32) bool { return fill == 0 })
	return m
}

// READY can be here before the end of DRAIN is known, and RUNNING together with
// the end of the link: neither may look like a failure.
func TestAnswersThatOvertakeAreNotFailures(t *testing.T) {
	for i := range 15 {
		b := newBench(t)
		b.source.PassIntervalMs, b.source.Connections = 1, 1
		b.begin()
		if s, d := b.result(0), b.result(1); s.Outcome != Moved || d.Outcome != Moved {
			t.Fatalf("move %d: source %s %q, destination %s %q; want moved", i, s.Outcome, s.Reason, d.Outcome, d.Reason)
		}
	}
}

func TestALinkThatStallsInTheStopPhaseIsRolledBackWithinTheBudget(t *testing.T) {
	b := newBench(t)
	b.source.BudgetMs = 300
	b.src.hot = 20
	b.ask = func(context.Context) error { b.valve.close(); return nil }
	b.begin()
	r := b.result(0)
	if r.Outcome != RolledBack || r.StopMs > 300 || r.StopMs < 200 || !strings.Contains(r.Reason, "the deadline passed") {
		t.Errorf("%s after %.1f ms: %q; want rolled back between 200 and 300 ms", r.Outcome, r.StopMs, r.Reason)
	}
	b.guest("src")
	if b.committed() {
		t.Error("the move is marked as committed")
	}
	b.valve.open()
	if d := b.result(1); d.Outcome != Failed {
		t.Errorf("the destination says %s; want failed", d.Outcome)
	}
	b.guest("src")
}

func TestADaemonThatGoesAwayBeforeCommitGetsItsGuestBackAtOnce(t *testing.T) {
	for phase, want := range map[Phase]Outcome{Streaming: Failed, AskingStop: Failed, Stopped: RolledBack, Draining: RolledBack, AtReady: RolledBack} {
		b := newBench(t)
		b.source.BudgetMs, b.source.PauseAt = 20_000, phase
		b.source.PassIntervalMs = 100
		var once sync.Once
		b.onEvent = func(side string, e Event) {
			if side == "source" && e.Phase == phase {
				once.Do(func() {
					go func() {
						time.Sleep(30 * time.Millisecond) // into the phase
						b.stopSource(errors.New("the daemon is gone"))
					}()
				})
			}
		}
		if phase == AskingStop {
			b.ask = func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		}
		b.begin()
		r := b.result(0)
		if r.Outcome != want || r.StopMs > 1000 || !strings.Contains(r.Reason, "the daemon is gone") {
			t.Errorf("%s: %s after %.1f ms: %q; want %s at once, and why", phase, r.Outcome, r.StopMs, r.Reason, want)
		}
		b.guest("src")
		if d := b.result(1); d.Outcome != Failed || b.committed() {
			t.Errorf("%s: destination %s, committed %v; want failed, false", phase, d.Outcome, b.committed())
		}
	}
}

func TestADaemonThatGoesAwayAfterCommitChangesNothing(t *testing.T) {
	b := newBench(t)
	b.onEvent = func(side string, e Event) {
		if e.Phase == Committed && side == "source" {
			b.stopSource(errors.New("the daemon is gone"))
		}
		if e.Phase == Committed && side == "destination" {
			b.stopDestination(errors.New("the daemon is gone"))
		}
	}
	b.begin()
	if s, d := b.result(0), b.result(1); s.Outcome != Moved || d.Outcome != Moved {
		t.Errorf("source %s %q, destination %s %q; want moved", s.Outcome, s.Reason, d.Outcome, d.Reason)
	}
	b.guest("dst")
}

func TestCommitWithoutAnAnswerLeavesTheSourcePaused(t *testing.T) {
	b := newBench(t)
	b.onEvent = func(side string, e Event) {
		if side == "destination" && e.Phase == Committed {
			b.valve.close()
		}
	}
	b.begin()
	if r := b.result(0); r.Outcome != InDoubt || !b.committed() {
		t.Errorf("%s %q, committed %v; want in doubt and committed", r.Outcome, r.Reason, b.committed())
	}
	b.guest("dst")
}

func TestADestinationThatCannotRunTheGuestIsInDoubtForTheSource(t *testing.T) {
	b := newBench(t)
	b.dst.refuseGo = 1
	b.begin()
	s, d := b.result(0), b.result(1)
	if s.Outcome != InDoubt || d.Outcome != Failed || !strings.Contains(s.Reason, "not finalized") {
		t.Errorf("source %s %q, destination %s; want in doubt with QEMU's words, failed", s.Outcome, s.Reason, d.Outcome)
	}
	b.guest("")
}

func TestFailuresAtTheDestinationAreRolledBack(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(b *bench)
		outcome Outcome
		why     string
	}{
		{"QEMU cannot load the guest", func(b *bench) { b.dst.failLoad = true }, RolledBack, "could not load"},
		{"QEMU dies while it streams", func(b *bench) {
			b.onEvent = func(side string, e Event) {
				if side == "source" && e.Pass != nil {
					b.dst.die()
				}
			}
			b.source.Policy, b.source.BudgetMs, b.src.hot = "bumpless", 51, 400 // it streams until it is refused
			b.source.PassIntervalMs = 500                                       // which takes long enough for the death to be noticed
		}, Failed, ""},
		{"QEMU dies at READY", func(b *bench) {
			b.source.PauseAt = AtReady
			b.source.BudgetMs = 300
			b.onEvent = func(side string, e Event) {
				if side == "source" && e.Phase == AtReady {
					b.dst.die()
				}
			}
		}, RolledBack, ""},
		{"it is aborted while it drains", func(b *bench) {
			b.destination.PauseAt = Draining
			b.onEvent = func(side string, e Event) {
				if side == "destination" && e.Phase == Draining {
					b.stopDestination(errors.New("no more"))
				}
			}
		}, RolledBack, ""},
		{"less RAM than the guest has", func(b *bench) {
			b.destination.RAMBytes, b.source.PassIntervalMs = 1<<20, 1000 // it is refused well before the second look
		}, Failed, "this guest has 1 MiB"},
		{"another move", func(b *bench) { b.destination.Move = "x" }, Failed, ""},
	} {
		b := newBench(t)
		c.change(b)
		b.begin()
		r := b.result(0)
		if r.Outcome != c.outcome || !strings.Contains(r.Reason, c.why) || b.committed() {
			t.Errorf("%s: %s %q, committed %v; want %s because of %q", c.name, r.Outcome, r.Reason, b.committed(), c.outcome, c.why)
		}
		b.guest("src")
	}
}

// QEMU refuses `cont` until it has finished failing.
func TestARollBackInsists(t *testing.T) {
	b := newBench(t)
	b.source.BudgetMs, b.source.PauseAt, b.src.refuseGo = 200, Draining, 20
	b.begin()
	if r := b.result(0); r.Outcome != RolledBack || r.StopMs > 2000 {
		t.Errorf("%s after %.1f ms: %q; want rolled back, twenty refusals later", r.Outcome, r.StopMs, r.Reason)
	}
	b.guest("src")
}

// When the gateway does not read on, QEMU sits in a write under its big lock
// and hears no command until somebody closes the pipe.
func TestARollBackReleasesAQEMUThatIsBlockedInAWrite(t *testing.T) {
	b := newBench(t)
	b.src.garbled = true
	b.begin()
	if r := b.result(0); r.Outcome != RolledBack || r.StopMs > 2000 || !strings.Contains(r.Reason, "page header at offset") {
		t.Errorf("%s after %.1f ms: %q; want rolled back at once because of the page header", r.Outcome, r.StopMs, r.Reason)
	}
	b.guest("src")
}

// A paused guest opens QEMU's gate: the stream ends without our stopping it.
func TestAGuestThatAnOperatorPausesIsNotMovedAndStaysPaused(t *testing.T) {
	b := newBench(t)
	b.source.BudgetMs, b.src.hot, b.source.Policy = 51, 400, "bumpless" // it streams until it is refused
	var once sync.Once
	b.onEvent = func(side string, e Event) {
		if e.Pass != nil {
			once.Do(func() { _, _ = b.src.carryOut("stop", nil) }) // the fake never refuses it
		}
	}
	b.begin()
	if r := b.result(0); r.Outcome != Failed || b.committed() {
		t.Errorf("%s %q, committed %v; want failed", r.Outcome, r.Reason, b.committed())
	}
	b.guest("")
}

func TestASourceQEMUThatDiesStartsNoSecondCopy(t *testing.T) {
	for _, phase := range []Phase{Streaming, Draining} {
		b := newBench(t)
		b.source.PauseAt, b.source.BudgetMs = phase, 300
		b.onEvent = func(side string, e Event) {
			if side == "source" && e.Phase == phase {
				b.src.die()
			}
		}
		b.begin()
		r := b.result(0)
		if d := b.result(1); r.Outcome != Failed || d.Outcome != Failed || b.committed() {
			t.Errorf("%s: source %s %q, destination %s; want failed both", phase, r.Outcome, r.Reason, d.Outcome)
		}
		b.guest("")
	}
}

func TestASourceThatAnnouncedLessRAMIsNotRead(t *testing.T) {
	b := newBench(t)
	b.source.RAMBytes = 1 << 20
	b.begin()
	if r := b.result(0); r.Outcome != Failed || !strings.Contains(r.Reason, "1 MiB were announced") {
		t.Errorf("%s %q; want failed because of its RAM", r.Outcome, r.Reason)
	}
	b.guest("src")
}

func TestAStopThatTakesTooLongIsRolledBack(t *testing.T) {
	b := newBench(t)
	b.source.BudgetMs, b.src.stopTakes = 200, 400*time.Millisecond
	b.begin()
	if r := b.result(0); r.Outcome != RolledBack {
		t.Errorf("%s %q; want rolled back", r.Outcome, r.Reason)
	}
	b.guest("src")
}

// QEMU's migration thread looks at the guest's state without the lock that `stop`
// holds and lends to the guest's processors while they halt.
func TestAStopThatIsAnsweredBehindTheLastSectionIsNotWaitedForWithoutReading(t *testing.T) {
	b := newBench(t)
	b.source.BudgetMs, b.src.hot, b.src.stopLate = 1000, fakePages, true
	b.begin()
	if r := b.result(0); r.Outcome != Moved || r.StopMs > 500 {
		t.Errorf("%s after a stop of %.0f ms: %q; want moved within 500 ms", r.Outcome, r.StopMs, r.Reason)
	}
	b.guest("dst")
}

func TestAHotSetThatIsTooLargeIsRefusedAndTheGuestNeverStops(t *testing.T) {
	b := newBench(t)
	b.source.Policy, b.source.BudgetMs, b.src.hot = "bumpless", 80, 300
	b.source.FixedMs = 60
	b.begin()
	r := b.result(0)
	_, stops := b.src.is()
	if r.Outcome != Refused || stops != 0 || !strings.Contains(r.Reason, "needs a budget of") {
		t.Errorf("%s %q after %d stops; want refused with what would help, no stop", r.Outcome, r.Reason, stops)
	}
	b.guest("src")
}

func TestANoOfTheDaemonIsARefusal(t *testing.T) {
	b := newBench(t)
	b.ask = func(context.Context) error { return errors.New("its partner is not healthy") }
	b.begin()
	_, stops := b.src.is()
	if r := b.result(0); r.Outcome != Refused || stops != 0 || !strings.Contains(r.Reason, "partner") {
		t.Errorf("%s %q; want refused because of the partner", r.Outcome, r.Reason)
	}
	b.guest("src")
}

func TestALinkThatBreaksWhileTheDaemonIsAskedNeverStopsTheGuest(t *testing.T) {
	b := newBench(t)
	b.ask = func(context.Context) error {
		b.stopDestination(errors.New("no more"))
		<-time.After(200 * time.Millisecond)
		return nil
	}
	b.begin()
	r := b.result(0)
	if _, stops := b.src.is(); r.Outcome != Failed || stops != 0 {
		t.Errorf("%s %q after %d stops; want failed, no stop", r.Outcome, r.Reason, stops)
	}
}

func TestStrangersAreRefusedAndTheRightPeerIsServed(t *testing.T) {
	b := newBench(t)
	b.strangers = func(address string) {
		for range 8 { // they say nothing
			c, err := net.Dial("tcp", address)
			must(t, err)
			t.Cleanup(func() { c.Close() })
		}
		for _, f := range []link.Files{files(linktest.NewSite(t), "src"), files(b.site, "host-c")} {
			config, err := f.Load()
			must(t, err)
			config.InsecureSkipVerify = true
			raw, err := net.Dial("tcp", address)
			must(t, err)
			c, err := link.Client(raw.(*net.TCPConn), config, "dst", new(link.Meter))
			must(t, err)
			_ = c.Handshake() // in TLS 1.3 the refusal comes after it
			_, _ = io.Copy(io.Discard, c)
			raw.Close()
			select {
			case why := <-b.refused:
				if !strings.Contains(why, "refused") || !strings.Contains(why, "certificate") {
					t.Errorf("refused because of %q; want the certificate", why)
				}
			case <-time.After(5 * time.Second):
				t.Fatal("a stranger was not reported")
			}
		}
	}
	begun := time.Now()
	b.begin()
	if r := b.result(0); r.Outcome != Moved || time.Since(begun) > dialTimeout/2 {
		t.Errorf("%s %q after %v; want moved without waiting for strangers", r.Outcome, r.Reason, time.Since(begun))
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*SourceConfig){
		"an unknown policy":          func(c *SourceConfig) { c.Policy = "fastest" },
		"no budget":                  func(c *SourceConfig) { c.BudgetMs = 0 },
		"a margin above the budget":  func(c *SourceConfig) { c.MarginMs = 5000 },
		"too many connections":       func(c *SourceConfig) { c.Connections = 17 },
		"heard before it runs":       func(c *SourceConfig) { c.WakingMs = -1 },
		"a pass interval of a day":   func(c *SourceConfig) { c.PassIntervalMs = 86_400_000 },
		"a negative bound of memory": func(c *SourceConfig) { c.HeldMiB = -1 },
	} {
		c := SourceConfig{BudgetMs: 100, Policy: "precopy"}
		change(&c)
		if _, err := RunSource(context.Background(), c, func(Event) {}, nil); err == nil {
			t.Errorf("%s: RunSource() = nil; want an error", name)
		}
	}
}

func TestAGuestThatDoesNotRunIsNotMoved(t *testing.T) {
	for _, c := range []struct{ status, migration string }{{"paused", ""}, {"running", "active"}, {"running", "cancelling"}} {
		b := newBench(t)
		b.src.mu.Lock()
		b.src.status, b.src.migration = c.status, c.migration
		b.src.mu.Unlock()
		b.begin()
		if r := b.result(0); r.Outcome != Failed || !strings.Contains(r.Reason, fmt.Sprintf("%q", map[bool]string{true: c.migration, false: c.status}[c.status == "running"])) {
			t.Errorf("%+v: %s %q; want failed with the state's name", c, r.Outcome, r.Reason)
		}
	}
}
