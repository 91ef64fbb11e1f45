package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/policy"
	"bumpless/migrate/replay"
)

// tracing is a guest and the recording of it.
func tracing(t *testing.T, hot uint64, ms int) (*fakeQEMU, TraceConfig) {
	q := newFake(t, "running")
	q.hot = hot
	q.run()
	return q, TraceConfig{Guest: "g", QMP: q.Path, Path: filepath.Join(t.TempDir(), "trace"), Ms: ms, IntervalMs: 20}
}

// runsOn checks that the guest was left as it was.
func (q *fakeQEMU) runsOn(t *testing.T) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.status != "running" || q.stops != 0 || q.migration == "active" {
		t.Errorf("the guest is %s after %d stops, its migration %s; want running, none, over", q.status, q.stops, q.migration)
	}
}

func TestATraceIsRecordedWithoutADestination(t *testing.T) {
	q, cfg := tracing(t, 40, 400)
	r, err := RunTrace(context.Background(), cfg, func(Event) {})
	must(t, err)
	if r.Outcome != Recorded || r.TotalS < 0.4 {
		t.Fatalf("%s %q after %.2f s; want recorded, after 0.4 s", r.Outcome, r.Reason, r.TotalS)
	}
	q.runsOn(t)
	file, err := os.ReadFile(cfg.Path)
	must(t, err)
	trace, err := replay.Decode(file)
	must(t, err)
	if n := len(trace.Passes); trace.Pages != fakePages || n < 10 || uint32(n) != r.Passes+1 {
		t.Errorf("%d pages, %d passes, %d told; want all %d pages, a pass each 20 ms or more", trace.Pages, n, r.Passes, fakePages)
	}
	for _, p := range trace.Passes[1:] {
		for _, s := range p.Spans {
			if s.First >= 40 {
				t.Fatalf("page %d at %v; want none but the 40 that are dirtied", s.First, p.At)
			}
		}
	}
	for _, name := range policy.Names() {
		if f, err := replay.Run(trace, name, replay.Defaults()); err != nil || f.Outcome != replay.Moved {
			t.Errorf("replay by %s: %+v, %v; want moved", name, f, err)
		}
	}
}

func TestATraceOfAQuietGuestHasPassesWithoutPages(t *testing.T) {
	q, cfg := tracing(t, 0, 200)
	r, err := RunTrace(context.Background(), cfg, func(Event) {})
	if err != nil || r.Outcome != Recorded {
		t.Fatalf("%+v, %v; want recorded", r, err)
	}
	q.runsOn(t)
}

func TestAnInterruptedTraceLeavesTheGuestRunningAndNoFile(t *testing.T) {
	q, cfg := tracing(t, 40, 60_000)
	ctx, cancel := context.WithCancelCause(context.Background())
	passes := 0
	r, err := RunTrace(ctx, cfg, func(e Event) {
		if e.Pass != nil {
			if passes++; passes == 3 {
				cancel(errors.New("interrupted"))
			}
		}
	})
	must(t, err)
	if r.Outcome != Failed || !strings.Contains(r.Reason, "interrupted") {
		t.Errorf("%s %q; want failed, with the cause", r.Outcome, r.Reason)
	}
	q.runsOn(t)
	if _, err := os.Stat(cfg.Path); err == nil {
		t.Error("half a trace was written")
	}
}

func TestATraceOfAGuestThatIsStoppedMeanwhileEndsAndLeavesItStopped(t *testing.T) {
	q, cfg := tracing(t, 40, 60_000)
	stop := func(e Event) {
		if e.Pass != nil && e.Pass.Number == 3 {
			if _, err := q.carryOut("stop", nil); err != nil {
				t.Error(err)
			}
		}
	}
	r, err := RunTrace(context.Background(), cfg, stop)
	must(t, err)
	if r.Outcome != Failed || !strings.Contains(r.Reason, "stopped while it was traced") {
		t.Errorf("%s %q; want failed, because it was stopped", r.Outcome, r.Reason)
	}
	if status, stops := q.is(); status != "paused" || stops != 1 {
		t.Errorf("the guest is %s after %d stops; want paused, as somebody wanted it", status, stops)
	}
}

func TestOnlyARunningGuestThatDoesNotMoveIsTraced(t *testing.T) {
	for _, c := range []struct{ status, migration, want string }{{"paused", "", "only a running guest"}, {"running", "active", `"active" already`}} {
		q := newFake(t, c.status)
		q.migration = c.migration
		q.run()
		r, err := RunTrace(context.Background(), TraceConfig{Guest: "g", QMP: q.Path, Path: filepath.Join(t.TempDir(), "trace"), Ms: 100}, func(Event) {})
		if err != nil || r.Outcome != Failed || !strings.Contains(r.Reason, c.want) {
			t.Errorf("a guest that is %s, migration %q: %+v, %v; want %q", c.status, c.migration, r, err, c.want)
		}
	}
}

func TestATraceHasALengthWithinBounds(t *testing.T) {
	for _, cfg := range []TraceConfig{{Ms: 0}, {Ms: MaxTraceMs + 1}, {Ms: 1000, IntervalMs: -1}} {
		if _, err := RunTrace(context.Background(), cfg, func(Event) {}); err == nil {
			t.Errorf("RunTrace(%+v) = nil; want an error", cfg)
		}
	}
}

// A gateway that is killed can cancel nothing: its pipe closes.
func TestAGuestOutlivesTheProcessThatTracesIt(t *testing.T) {
	q, cfg := tracing(t, 40, 60_000)
	cmd := exec.Command("/proc/self/exe", "gateway", "trace")
	stdin, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it may have ended
	must(t, json.NewEncoder(stdin).Encode(cfg))
	migration := func() string {
		q.mu.Lock()
		defer q.mu.Unlock()
		return q.migration
	}
	waitUntil(t, "the recording", 10*time.Second, func() bool { return migration() == "active" })
	must(t, cmd.Process.Kill())
	waitUntil(t, "the migration's end", 10*time.Second, func() bool { return migration() == "failed" })
	q.runsOn(t)
}
