package gateway

import (
	"sync"
	"time"
)

// Guard is the daemon's own watch over the time that a guest is stopped. The
// source's gateway has a timer for that; a gateway that is not run (it was
// stopped, it waits for memory, its CPU is taken) has none. It is killed then,
// and what is to be done is what is to be done whenever a gateway dies: without
// the marker the guest is continued, with it the log decides.
//
// The budget is what is left of it until the guest must run, to be heard in time
// (waking.go):
//
//	after STOP      at budget - 9/10 margin: it should have begun to roll back at
//	                budget - margin; the death of a process and what follows took
//	                10 to 25 ms on a machine with 2 busy cores
//	after ROLLBACK  at budget - margin/2: the gateway's own is the quicker one
//	after COMMIT    at the budget: there is nothing to gain from waiting longer for RUNNING
//	after RUNNING or RESUMED, and the result
//	                12 s later: the guest is not held up, but the move is not over before;
//	                to remove its disks' mirrors takes longer than half a margin
//
// RUNNING follows COMMIT within a few milliseconds. Where it does not within the
// margin, or the link breaks, the daemon is told to send COMMIT again, to the
// destination's daemon ("COMMIT, twice" in the package comment): it is that side's
// gateway that hangs, or the link.
type Guard struct {
	toRollBack, toResume, toRun time.Duration // since STOP was reported
	margin                      time.Duration
	toEnd                       time.Duration // since the guest runs, here or there
	kill, again                 func()

	mu      sync.Mutex
	stopped time.Time
	waking  time.Duration // not of the budget as it counts here; 0 before STOP
	timer   *time.Timer   // nil before STOP
	unheard *time.Timer   // nil before COMMIT
	ending  *time.Timer   // nil before RUNNING, RESUMED or the result
}

// endWait is for a gateway to end when its guest runs: releaseWait or sweepWait, and
// lastLineWait, and some more.
const endWait = 12 * time.Second

// NewGuard for one move; kill ends the gateway's process, again has COMMIT sent
// again. Neither waits; both may be called at the same moment.
func NewGuard(budgetMs, marginMs int, kill, again func()) *Guard {
	budget, margin := time.Duration(budgetMs)*time.Millisecond, time.Duration(marginMs)*time.Millisecond
	return &Guard{toRollBack: budget - margin*9/10, toResume: budget - margin/2, toRun: budget, margin: margin, toEnd: endWait, kill: kill, again: again}
}

// Saw takes in the gateway's events, in order.
func (g *Guard) Saw(e Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case e.Phase == Stopped && g.timer == nil:
		g.stopped, g.waking = time.Now(), time.Duration(e.WakingMs)*time.Millisecond
		g.timer = time.AfterFunc(g.toRollBack-g.waking, g.kill)
	case e.Phase == Rollback:
		g.extend(g.toResume - g.waking)
	case e.Phase == Committed && g.unheard == nil:
		g.extend(g.toRun - g.waking)
		g.unheard = time.AfterFunc(g.margin, g.again)
	case e.Phase == Unheard && g.unheard != nil && g.unheard.Stop():
		go g.again()
	case e.Phase == Running || e.Phase == Resumed || e.Phase == "" && e.Result != nil:
		stopTimers(g.timer, g.unheard, g.ending)
		g.ending = time.AfterFunc(g.toEnd, g.kill)
	}
}

// extend the time since STOP, unless it is over already.
func (g *Guard) extend(to time.Duration) {
	if g.timer != nil && g.timer.Stop() {
		g.timer = time.AfterFunc(time.Until(g.stopped.Add(to)), g.kill)
	}
}

func stopTimers(timers ...*time.Timer) {
	for _, t := range timers {
		if t != nil {
			t.Stop()
		}
	}
}

// Ended is told when the gateway's process has ended, with a word or without.
func (g *Guard) Ended() {
	g.mu.Lock()
	defer g.mu.Unlock()
	stopTimers(g.timer, g.unheard, g.ending)
}
