package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/link"
)

// The destination's gateway dies with the guest loaded: whoever knows that the
// source has committed lets the guest run in its place.
func TestALoadedGuestRunsWithoutItsGateway(t *testing.T) {
	b := newBench(t)
	ready := make(chan struct{})
	b.source.BudgetMs, b.destination.PauseAt = 20_000, AtReady // READY is not sent: nothing resolves it but this test
	b.onEvent = func(side string, e Event) {
		if side == "destination" && e.Phase == AtReady {
			close(ready)
		}
	}
	b.begin()
	<-ready
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	must(t, RunLoaded(ctx, b.dst.Path))
	if s, _ := b.dst.is(); s != "running" {
		t.Errorf("the guest is %s; want running", s)
	}
	must(t, RunLoaded(ctx, b.dst.Path)) // once more is harmless
	b.stopDestination(errors.New("the test is over"))
	b.result(0)
}

func TestAGuestThatIsNotLoadedIsNotLetRun(t *testing.T) {
	for _, c := range []struct{ status, migration string }{
		{"inmigrate", "active"}, {"inmigrate", ""}, {"paused", "active"}, {"paused", "failed"}, {"paused", ""}, {"shutdown", "completed"}, {"internal-error", "completed"},
	} {
		q := newFake(t, c.status)
		q.migration = c.migration
		q.run()
		err := RunLoaded(context.Background(), q.Path)
		if err == nil || !strings.Contains(err.Error(), "want paused, and completed") {
			t.Errorf("%s, migration %q: RunLoaded() = %v; want a refusal", c.status, c.migration, err)
		}
		if s, _ := q.is(); s == "running" {
			t.Errorf("%s, migration %q: the guest runs", c.status, c.migration)
		}
	}
}

func TestAGuestWhoseContIsRefusedIsNotReportedAsRunning(t *testing.T) {
	q := newFake(t, "paused")
	q.migration, q.refuseGo = "completed", 1
	q.run()
	if err := RunLoaded(context.Background(), q.Path); err == nil {
		t.Error("RunLoaded() = nil although QEMU refused; want its refusal")
	}
}

// A source's QEMU takes its disks' locks back when its stream breaks; the guest
// could not run at the destination then.
func TestASourceThatIsNotAnsweredHoldsItsStreamUntilItIsToldThatTheGuestRuns(t *testing.T) {
	for why, then := range map[string]func(h *host){
		"the link breaks": func(h *host) {},
		"the gateway gives up": func(h *host) {
			_ = link.Write(h.conn, link.Frame{Type: link.Abort, Body: []byte("another connection broke")})
			h.until(0)
		},
	} {
		t.Run(why, func(t *testing.T) { holdsItsStream(t, then) })
	}
}

// holdsItsStream checks what a source does whose destination does that after COMMIT.
func holdsItsStream(t *testing.T, then func(h *host)) {
	b := newBench(t)
	runs := make(chan struct{})
	b.source.CommitAgain, b.source.runs = true, runs
	b.onEvent = func(_ string, e Event) {
		if e.Phase == Unheard {
			time.AfterFunc(50*time.Millisecond, func() {
				b.src.mu.Lock()
				defer b.src.mu.Unlock()
				if b.src.migration != "active" {
					t.Errorf("the source's migration is %q; want it active", b.src.migration)
				}
				close(runs)
			})
		}
	}
	r := b.playDestination(func(h *host) {
		_ = writeHello(h.conn, hello{Move: "m", Guest: "g", Total: 1}) // the source says what it thinks of it
		f, _ := h.until(link.Digest)
		_ = link.Write(h.conn, link.Frame{Type: link.Ready, Body: f.Body})
		h.until(link.Commit)
		then(h)
	})
	if r.Outcome != Moved || r.StopMs < 50 || !strings.Contains(r.Reason, "the daemons say") {
		t.Errorf("%s after %.0f ms: %q; want moved, by the daemons' word", r.Outcome, r.StopMs, r.Reason)
	}
	if s, _ := b.src.is(); s != "paused" {
		t.Errorf("the source's guest is %s; want paused", s)
	}
}
