package gateway

import (
	"context"
	"sync"
	"time"
)

// Arrival is the daemon's part in the end of a move at its destination: who lets
// the guest run, the gateway or, when that is gone, the daemon.
type Arrival struct {
	committed chan struct{} // closed when the source is known to have committed
	running   chan struct{} // closed when the guest is known to run
	decided   chan struct{} // closed when nothing will continue the copy any more

	mu           sync.Mutex
	loaded, ran  bool // the gateway has said so
	saidSo, over bool // the source has committed; that would be too late now
	why          string
}

const (
	// commitWait is for COMMIT when the gateway ended with the guest loaded: a
	// source that has committed is heard of, one that has not goes on by itself.
	commitWait = 250 * time.Millisecond
	// contWait is for a gateway that does not hang: COMMIT may have just come.
	contWait = 10 * time.Millisecond
)

// NewArrival of one move.
func NewArrival() *Arrival {
	return &Arrival{committed: make(chan struct{}), running: make(chan struct{}), decided: make(chan struct{})}
}

// Saw takes in the gateway's events, in order.
func (a *Arrival) Saw(e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.loaded = a.loaded || e.Phase == AtReady
	switch e.Phase {
	case Committed: // the gateway has COMMIT from the source's own
		a.commits()
	case Running:
		a.runs()
	}
}

// commits is called with mu held.
func (a *Arrival) commits() {
	if !a.saidSo {
		a.saidSo = true
		close(a.committed)
	}
}

// runs is called with mu held.
func (a *Arrival) runs() {
	if !a.ran {
		a.ran = true
		close(a.running)
	}
}

// Loaded tells whether the gateway has loaded the guest.
func (a *Arrival) Loaded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.loaded
}

// Commit notes that the source has committed, by its daemon's word or the log's.
// false: it is too late, and the guest does not run here.
func (a *Arrival) Commit() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over {
		return a.ran
	}
	a.commits()
	return true
}

// Settle has the guest run after Commit, with its gateway or without it. kill
// ends the gateway's process and does not wait. why the guest does not run.
func (a *Arrival) Settle(ctx context.Context, kill func()) (runs bool, why string) {
	timer := time.NewTimer(contWait)
	defer timer.Stop()
	select {
	case <-a.running:
		return true, ""
	case <-a.decided:
	case <-timer.C:
		kill()
	}
	select {
	case <-a.decided:
	case <-ctx.Done():
		return false, "the destination's gateway does not end"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ran, a.why
}

// End decides, once the gateway's process is gone; moved is what it said. run
// continues the copy in its place (RunLoaded). Nobody may be told of the
// gateway's end before: a copy that is then seen not to run is killed, and the
// source runs.
func (a *Arrival) End(ctx context.Context, moved bool, run func() error) (runs bool, why string) {
	why = "COMMIT did not come"
	if !moved && !a.isRunning() && a.due(ctx) {
		if err := run(); err != nil {
			why = "continue the guest in its gateway's place: " + err.Error()
		} else {
			moved = true
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if moved {
		a.runs()
	}
	if a.over = true; !a.ran {
		a.why = why
	}
	close(a.decided)
	return a.ran, a.why
}

func (a *Arrival) isRunning() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ran
}

// due waits for COMMIT; from its end on it is too late.
func (a *Arrival) due(ctx context.Context) bool {
	wait := commitWait
	if !a.Loaded() {
		wait = 0
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-a.committed:
	case <-timer.C:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = !a.saidSo
	return a.saidSo && ctx.Err() == nil
}
