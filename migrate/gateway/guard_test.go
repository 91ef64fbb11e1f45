package gateway

import (
	"sync/atomic"
	"testing"
	"time"
)

func TestAGuardKillsAGatewayThatKeepsItsGuestStopped(t *testing.T) {
	const budgetMs, marginMs = 240, 120 // 132 ms after STOP, 180 after ROLLBACK, 240 after COMMIT
	for _, c := range []struct {
		name   string
		events []Event // one after the other
		least  time.Duration
		killed bool
	}{
		{"it never stopped the guest", []Event{{Phase: Streaming}, {Phase: AskingStop}}, 0, false},
		{"silent after STOP", []Event{{Phase: Stopped}}, 132 * time.Millisecond, true},
		{"silent in its roll-back", []Event{{Phase: Stopped}, {Phase: Rollback}}, 180 * time.Millisecond, true},
		{"silent after COMMIT", []Event{{Phase: Stopped}, {Phase: AtReady}, {Phase: Committed}}, 240 * time.Millisecond, true},
		{"the guest runs", []Event{{Phase: Stopped}, {Phase: Committed}, {Phase: Running}}, 0, false},
		{"rolled back", []Event{{Phase: Stopped}, {Phase: Rollback}, {Result: &Result{Outcome: RolledBack}}}, 0, false},
		{"refused", []Event{{Result: &Result{Outcome: Refused}}}, 0, false},
	} {
		var after atomic.Int64
		began := time.Now()
		g := NewGuard(budgetMs, marginMs, func() { after.Store(int64(time.Since(began))) })
		for _, e := range c.events {
			g.Saw(e)
		}
		time.Sleep(400 * time.Millisecond)
		took := time.Duration(after.Load())
		if killed := took > 0; killed != c.killed || took < c.least {
			t.Errorf("%s: killed = %v after %v; want %v, not before %v", c.name, killed, took, c.killed, c.least)
		}
	}
}

func TestAGuardLeavesAGatewayThatHasEndedAlone(t *testing.T) {
	var kills atomic.Int64
	g := NewGuard(100, 20, func() { kills.Add(1) })
	g.Saw(Event{Phase: Stopped})
	g.Ended()
	time.Sleep(200 * time.Millisecond)
	if n := kills.Load(); n != 0 {
		t.Errorf("it was killed %d times; want never: its process id may be another's", n)
	}
}
