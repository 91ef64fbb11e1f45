package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"bumpless/migrate/link"
)

// Between READY and COMMIT the link can break, and the destination give up. A
// COMMIT that is sent nevertheless cannot be taken back: the guest would stay
// paused until the log has decided.
func TestADestinationThatIsLostBehindREADYIsNotCommittedTo(t *testing.T) {
	b := newBench(t)
	on := make(chan struct{})
	b.source.PauseAt, b.source.on, b.source.BudgetMs = AtReady, on, 20_000
	b.onEvent = func(side string, e Event) {
		if side == "source" && e.Phase == AtReady {
			b.stopDestination(errors.New("its host goes down"))
			time.AfterFunc(500*time.Millisecond, func() { close(on) }) // it has ended by then
		}
	}
	b.begin()
	if r := b.result(0); r.Outcome != RolledBack || r.StopMs > 5000 || b.committed() {
		t.Errorf("%s after %.1f ms: %q, committed %v; want rolled back, not committed", r.Outcome, r.StopMs, r.Reason, b.committed())
	}
	b.guest("src")
}

// READY and the link's end can be there together: what READY says counts, and so does
// the break. A source that forgot it sent a COMMIT that nobody could hear.
func TestABreakBehindREADYIsNotForgotten(t *testing.T) {
	for range 100 { // a select of two that are ready picks either
		s := &source{frames: make(chan link.Frame, 16), broken: make(chan error, 1), send: &sender{failed: make(chan error, 1)}}
		cut := errors.New("cut")
		s.frames <- link.Frame{Type: link.Ready}
		s.broken <- cut
		if _, err := s.expect(context.Background(), link.Ready); err != nil {
			t.Fatalf("expect(READY) = %v; want the frame", err)
		}
		if err := s.lost(); !errors.Is(err, cut) {
			t.Fatalf("lost() = %v before COMMIT; want %v", err, cut)
		}
	}
}
