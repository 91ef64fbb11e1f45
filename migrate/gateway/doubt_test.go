package gateway

import (
	"errors"
	"testing"
	"time"
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
