package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/link/linktest"
	"bumpless/migrate/qmp"
	"bumpless/migrate/qmp/qmptest"
)

// script answers a monitor's commands and keeps them, each as "name" or
// "name argument", of the arguments that name a job, node or id.
type script struct {
	mu   sync.Mutex
	said []string
	// answer to a command that was the nth of its name, from 1; "" for {}. One
	// that begins with ! is an error.
	answer func(command string, nth int) string
	count  map[string]int
}

func (s *script) take(c qmptest.Command) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count[c.Execute]++
	text := c.Execute
	for _, key := range []string{"device", "id", "node-name", "state", "force"} {
		if v, there := c.Arguments[key]; there {
			text += fmt.Sprint(" ", v)
		}
	}
	answer := s.answer(c.Execute, s.count[c.Execute])
	if !strings.HasPrefix(c.Execute, "query-") {
		s.said = append(s.said, text)
	}
	if refused, is := strings.CutPrefix(answer, "!"); is {
		return "", errors.New(refused)
	}
	return answer, nil
}

// heard are the commands so far, but for queries.
func (s *script) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.said)
}

// scripted is a source whose QEMU answers by a script, with the disk d0.
func scripted(t *testing.T, answer func(command string, nth int) string) (*source, *script) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "q")
	s := &script{answer: answer, count: map[string]int{}}
	qmptest.Serve(t, path, s.take)
	q, err := qmp.Dial(context.Background(), path)
	must(t, err)
	t.Cleanup(func() { q.Close() })
	return &source{qemu: q, mirrors: mirrors{nodes: []string{"d0"}}}, s
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

const inStepJob = `[{"id": "mirror-d0", "status": "ready", "current-progress": 90, "total-progress": 100}]`

func TestAMirrorThatHasEndedIsNotInStep(t *testing.T) {
	for _, c := range []struct {
		jobs string
		all  bool
		left int64
		want string // in the error
	}{
		{inStepJob, true, 10, ""},
		{`[{"id": "mirror-d0", "status": "running", "current-progress": 1, "total-progress": 100}]`, false, 99, ""},
		{`[{"id": "mirror-d0", "status": "concluded", "error": "no space"}]`, false, 0, "disk d0 has ended (concluded): no space"},
		{`[{"id": "mirror-d0", "status": "aborting"}]`, false, 0, "has ended (aborting)"},
		{`[{"id": "mirror-d1", "status": "ready"}]`, false, 0, "has ended"},
		{`[]`, false, 0, "has ended"},
	} {
		s, _ := scripted(t, func(string, int) string { return c.jobs })
		all, left, err := s.mirrors.inStep(within(t, time.Second), s.qemu)
		if (c.want == "" && (all != c.all || left != c.left || err != nil)) || (c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want))) {
			t.Errorf("%s: inStep() = %v, %d, %v; want %v, %d, %q", c.jobs, all, left, err, c.all, c.left, c.want)
		}
	}
}

func TestADiskIsHandedOverOnlyWhenItsMirrorEndedWell(t *testing.T) {
	for _, c := range []struct {
		name      string
		concluded string // the jobs, once the mirror was cancelled
		migration string
		want      string // in the error
	}{
		{"well", `[{"id": "mirror-d0", "status": "concluded"}]`, "pre-switchover", ""},
		{"with an error", `[{"id": "mirror-d0", "status": "concluded", "error": "Input/output error"}]`, "pre-switchover", "did not end well: Input/output error"},
		{"without a trace", `[]`, "pre-switchover", "did not end well"},
		{"late", `[{"id": "mirror-d0", "status": "ready"}]`, "pre-switchover", "the deadline passed"},
		{"QEMU's migration failed", `[{"id": "mirror-d0", "status": "concluded"}]`, "failed", "QEMU's migration has failed"},
		{"QEMU does not get there", `[{"id": "mirror-d0", "status": "concluded"}]`, "active", "the deadline passed"},
	} {
		s, script := scripted(t, func(command string, nth int) string {
			switch {
			case command == "query-jobs" && nth == 1:
				return inStepJob
			case command == "query-jobs":
				return c.concluded
			case command == "query-migrate":
				return fmt.Sprintf(`{"status": %q}`, c.migration)
			}
			return ""
		})
		err := s.handOver(within(t, 200*time.Millisecond))
		goesOn := slices.Contains(script.heard(), "migrate-continue pre-switchover")
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) || goesOn != (c.want == "") {
			t.Errorf("%s: handOver() = %v, QEMU goes on: %v; want %q", c.name, err, goesOn, c.want)
		}
		if want := []string{"block-job-cancel mirror-d0", "job-dismiss mirror-d0", "blockdev-del target-d0", "migrate-continue pre-switchover"}; c.want == "" && !slices.Equal(script.heard(), want) {
			t.Errorf("%s: handOver() says %q; want %q", c.name, script.heard(), want)
		}
	}
}

func TestAMirrorThatIsNotInStepAtTheStopIsNotEnded(t *testing.T) {
	s, script := scripted(t, func(string, int) string { return `[{"id": "mirror-d0", "status": "running"}]` })
	if err := s.handOver(within(t, time.Second)); err == nil || len(script.heard()) != 0 {
		t.Errorf("handOver() = %v, and says %q; want a refusal and nothing said", err, script.heard())
	}
}

func TestWhatAnEarlierMoveLeftIsRemoved(t *testing.T) {
	s, script := scripted(t, func(command string, nth int) string {
		switch {
		case command == "query-jobs" && nth == 1:
			return `[{"id": "mirror-d0", "status": "running"}, {"id": "backup", "status": "running"}]`
		case command == "query-jobs" && nth == 2:
			return `[{"id": "mirror-d0", "status": "concluded", "error": "Operation canceled"}, {"id": "backup", "status": "running"}]`
		case command == "query-jobs":
			return `[{"id": "backup", "status": "running"}]`
		case command == "query-named-block-nodes":
			return `[{"node-name": "d0"}, {"node-name": "target-d0"}]`
		case command == "block-job-cancel":
			return "!it has just ended"
		}
		return ""
	})
	must(t, s.sweep(within(t, 5*time.Second)))
	if want := []string{"block-job-cancel mirror-d0 true", "job-dismiss mirror-d0", "blockdev-del target-d0"}; !slices.Equal(script.heard(), want) {
		t.Errorf("sweep() says %q; want %q: what is somebody else's stays", script.heard(), want)
	}
}

func TestATargetOfAnotherSizeIsRefused(t *testing.T) {
	for size, ok := range map[int]bool{1024: true, 512: false, 2048: false} {
		s, _ := scripted(t, func(string, int) string {
			return fmt.Sprintf(`[{"node-name": "d0", "image": {"virtual-size": 1024}}, {"node-name": "target-d0", "image": {"virtual-size": %d}}]`, size)
		})
		if err := s.sameSize(within(t, time.Second), "d0"); (err == nil) != ok || (!ok && !strings.Contains(err.Error(), "size_mib")) {
			t.Errorf("sameSize() of 1024 and %d bytes = %v; want good: %v", size, err, ok)
		}
	}
}

func TestAGuestThatSomebodyElsePausesIsNoticed(t *testing.T) {
	for status, ok := range map[string]bool{"running": true, "paused": false, "io-error": false} {
		s, _ := scripted(t, func(command string, _ int) string {
			if command == "query-jobs" {
				return inStepJob
			}
			return fmt.Sprintf(`{"status": %q}`, status)
		})
		if err := s.lookAtMirrors(s.qemu); (err == nil) != ok {
			t.Errorf("a guest that is %s: lookAtMirrors() = %v", status, err)
		}
	}
}

// A destination that has eight local disks is 150 ms away.
func TestTheDisksConnectionsShakeHandsAtATime(t *testing.T) {
	const delay = 150 * time.Millisecond
	site := linktest.NewSite(t)
	here, err := files(site, "src").Load()
	must(t, err)
	there, err := files(site, "dst").Load()
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	d := &destination{cfg: DestinationConfig{Move: "m", Guest: "g", Peer: "src"}}
	callers := make(chan caller, maxLocalDisks)
	go func() {
		for raw, err := l.Accept(); err == nil; raw, err = l.Accept() {
			go func() { callers <- d.greet(context.Background(), raw.(*net.TCPConn), there) }()
		}
	}()
	v := &valve{t: t}
	v.delay.Store(int64(delay))
	s := &source{cfg: SourceConfig{Move: "m", Guest: "g", Peer: "dst", Connections: 2, LocalDisks: make([]string, maxLocalDisks), Addresses: []string{v.to(l.Addr().String())}}}
	begun := time.Now()
	must(t, s.connectDisks(within(t, 20*time.Second), here, s.cfg.Addresses))
	seen := map[int]bool{}
	for range maxLocalDisks {
		c := <-callers
		must(t, c.err)
		seen[c.hello.Disk] = true
		defer c.conn.Cut()
	}
	if took := time.Since(begun); took > maxLocalDisks*delay {
		t.Errorf("it took %v; want the time of one handshake over %v each way", took, delay)
	}
	if len(seen) != maxLocalDisks || len(s.mirrors.tunnels) != maxLocalDisks {
		t.Errorf("disks %v were introduced, %d tunnels; want all %d", seen, len(s.mirrors.tunnels), maxLocalDisks)
	}
	for _, t := range s.mirrors.tunnels {
		t.cut()
	}
}

// The guest runs on: its disks' mirrors may be removed for as long as that takes.
func TestAGuardLeavesAGatewayAloneThatHasRolledBackAndRemovesItsMirrors(t *testing.T) {
	const budgetMs, marginMs = 1000, 300
	jobs := append(slices.Repeat([]string{inStepJob}, 12), `[{"id": "mirror-d0", "status": "concluded"}]`, `[]`) // a look takes 20 ms
	s, _ := scripted(t, func(command string, nth int) string {
		switch command {
		case "query-jobs":
			return jobs[min(nth, len(jobs))-1]
		case "query-status":
			return `{"status": "running"}`
		case "query-named-block-nodes":
			return `[{"node-name": "target-d0"}]`
		}
		return ""
	})
	killed := make(chan time.Duration, 1)
	began := time.Now()
	guard := NewGuard(budgetMs, marginMs, func() { killed <- time.Since(began) }, func() {})
	s.report, s.began, s.send = guard.Saw, began, &sender{}
	s.hurry, s.resume = make(chan struct{}), make(chan struct{})
	ours, theirs, err := socketPair()
	must(t, err)
	defer theirs.Close()
	s.pipe = ours

	s.phase(Stopped)
	time.Sleep((budgetMs - marginMs) * time.Millisecond)
	s.rollback(began, context.DeadlineExceeded)
	s.close()
	guard.Saw(Event{Result: &s.result})

	select {
	case after := <-killed:
		t.Errorf("it was killed %v after STOP, the guest ran on %.0f ms after it; want its result", after, s.result.StopMs)
	default:
	}
	if s.result.Outcome != RolledBack || s.result.StopMs > budgetMs {
		t.Errorf("%+v; want rolled back", s.result)
	}
}

// Where it was a LAN the daemon orders the move once more: of anything else it would
// fail again, or be what nobody wants any more.
func TestAMoveIsTriedAgainForALANOnly(t *testing.T) {
	reset := func(*source) error { return brokenLink{errors.New("connection reset")} }
	look := func(s *source) error { return s.lookAtMirrors(s.qemu) }
	const full = `[{"id": "mirror-d0", "status": "concluded", "error": "No space left on device"}]`
	for name, c := range map[string]struct {
		said link.Frame // by the destination, before that
		why  func(s *source) error
		jobs string
		want bool
	}{
		"a connection breaks":                      {link.Frame{}, reset, inStepJob, true},
		"a connection breaks at the destination":   {link.Frame{Type: link.Abort, Count: link.LinkBroke, Body: []byte("EOF")}, reset, inStepJob, true},
		"the destination gave up":                  {link.Frame{Type: link.Abort, Body: []byte("out of memory")}, reset, inStepJob, false},
		"the destination says what nobody asked":   {link.Frame{Type: link.Ready}, reset, inStepJob, false},
		"somebody pauses the guest":                {link.Frame{}, look, inStepJob, false},
		"a disk has no room at the destination":    {link.Frame{}, look, full, false},
		"a mirror ends since its connection broke": {link.Frame{}, func(s *source) error { s.fail(reset(s)); return s.rather(look(s)) }, full, true},
	} {
		s, _ := scripted(t, func(command string, _ int) string {
			return map[string]string{"query-jobs": c.jobs, "query-status": `{"status": "paused"}`, "query-migrate": `{"status": "cancelled"}`}[command]
		})
		ours, theirs, err := socketPair()
		must(t, err)
		s.pipe, s.send, s.frames, s.broken, s.cfg.Addresses = ours, &sender{}, make(chan link.Frame, 16), make(chan error, 1), []string{"LAN A", "LAN B"}
		if c.said.Type > 0 {
			s.frames <- c.said
		}
		if s.giveUp(Failed, s.why(c.why(s))); s.result.LinkBroke != c.want || s.result.Outcome != Failed {
			t.Errorf("%s: %+v; want failed, by a LAN: %v", name, s.result, c.want)
		}
		theirs.Close()
	}
}
