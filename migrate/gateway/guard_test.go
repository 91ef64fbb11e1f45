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
		{"silent after STOP, and heard 40 ms after it runs", []Event{{Phase: Stopped, WakingMs: 40}}, 92 * time.Millisecond, true},
		{"silent in its roll-back, and heard 40 ms after it runs", []Event{{Phase: Stopped, WakingMs: 40}, {Phase: Rollback}}, 140 * time.Millisecond, true},
		{"silent after COMMIT", []Event{{Phase: Stopped}, {Phase: AtReady}, {Phase: Committed}}, 240 * time.Millisecond, true},
		{"silent after COMMIT, and heard 40 ms after it runs", []Event{{Phase: Stopped, WakingMs: 40}, {Phase: AtReady}, {Phase: Committed}}, 200 * time.Millisecond, true},
		{"the guest runs", []Event{{Phase: Stopped}, {Phase: Committed}, {Phase: Running}}, 0, false},
		{"rolled back", []Event{{Phase: Stopped}, {Phase: Rollback}, {Result: &Result{Outcome: RolledBack}}}, 0, false},
		{"refused", []Event{{Result: &Result{Outcome: Refused}}}, 0, false},
	} {
		var after atomic.Int64
		began := time.Now()
		g := NewGuard(budgetMs, marginMs, func() { after.Store(int64(time.Since(began))) }, func() {})
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

// The guest is not held up any more, but the move is over only when its gateway has
// ended; what freezes that may come behind its last word.
func TestAGuardKillsAGatewayThatDoesNotEnd(t *testing.T) {
	moved := Event{Result: &Result{Outcome: Moved}}
	for name, said := range map[string][]Event{
		"after RUNNING":        {{Phase: Stopped}, {Phase: Committed}, {Phase: Running}},
		"after its result":     {{Phase: Stopped}, {Phase: Committed}, {Phase: Running}, moved},
		"after it was refused": {{Phase: Streaming}, {Result: &Result{Outcome: Refused}}},
		"after it rolled back": {{Phase: Stopped}, {Phase: Rollback}, {Phase: Resumed}, {Result: &Result{Outcome: RolledBack}}},
	} {
		killed := make(chan time.Time, 10)
		g := NewGuard(240, 120, func() { killed <- time.Now() }, func() {})
		g.toEnd = 100 * time.Millisecond
		for _, e := range said {
			g.Saw(e)
		}
		last := time.Now()
		select {
		case at := <-killed:
			if took := at.Sub(last); took < g.toEnd-20*time.Millisecond {
				t.Errorf("%s: it was killed %v later; want not before %v", name, took, g.toEnd)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: it was not killed", name)
		}
		g.Ended()
	}
}

func TestAGuardLeavesAGatewayThatHasEndedAlone(t *testing.T) {
	var kills atomic.Int64
	g := NewGuard(100, 20, func() { kills.Add(1) }, func() {})
	g.toEnd = 50 * time.Millisecond
	g.Saw(Event{Phase: Stopped})
	g.Saw(Event{Phase: Running})
	g.Ended()
	time.Sleep(200 * time.Millisecond)
	if n := kills.Load(); n != 0 {
		t.Errorf("it was killed %d times; want never: its process id may be another's", n)
	}
}

func TestAGuardHasCOMMITSentAgainWhereRUNNINGDoesNotFollowIt(t *testing.T) {
	for _, c := range []struct {
		name  string
		then  []Event // after COMMIT
		again int64
	}{
		{"silent", nil, 1},
		{"the phase is reported twice", []Event{{Phase: Committed}}, 1},
		{"the guest runs", []Event{{Phase: Running}}, 0},
		{"the link broke later", []Event{{Phase: "none yet"}, {Phase: Unheard}}, 1},
		{"in doubt, and the gateway has ended", []Event{{Result: &Result{Outcome: InDoubt}}}, 0},
	} {
		var asked, early atomic.Int64
		began := time.Now()
		g := NewGuard(10_000, 100, func() {}, func() {
			asked.Add(1)
			if time.Since(began) < 100*time.Millisecond && c.name != "the link broke later" {
				early.Add(1)
			}
		})
		for _, e := range append([]Event{{Phase: Stopped}, {Phase: Committed}}, c.then...) {
			g.Saw(e)
		}
		time.Sleep(250 * time.Millisecond)
		g.Ended()
		if asked.Load() != c.again || early.Load() != 0 {
			t.Errorf("%s: COMMIT was sent again %d times, %d of them within the margin; want %d, and 0", c.name, asked.Load(), early.Load(), c.again)
		}
	}
}
