package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bumpless/ha/core"
	"bumpless/watchdog"
)

// eventBacklog bounds the events that wait for the loop. A full queue blocks
// the sender: nothing that was observed is dropped.
const eventBacklog = 256

// loop feeds one Agent with events and hands its actions to do.
type loop struct {
	events chan core.Event
	grants chan core.Event // LeaseReply: taken before what waits in events
	do     func(core.Action)
	beat   func() // says that the loop lives

	mu    sync.Mutex // guards agent, for readers
	agent core.Agent
}

func newLoop(agent core.Agent, do func(core.Action)) *loop {
	return &loop{events: make(chan core.Event, eventBacklog), grants: make(chan core.Event, eventBacklog), agent: agent, do: do, beat: func() {}}
}

// post hands an event to the loop; it gives up only when ctx ends.
func (l *loop) post(ctx context.Context, e core.Event) {
	queue := l.events
	if _, grant := e.(core.LeaseReply); grant {
		queue = l.grants
	}
	select {
	case queue <- e:
	case <-ctx.Done():
	}
}

// next event: a lease must not run out while its renewal waits behind others.
// A tick when there is none in time, nil at the end.
func (l *loop) next(ctx context.Context, tick <-chan time.Time) core.Event {
	select {
	case e := <-l.grants:
		return e
	default:
	}
	select {
	case <-ctx.Done():
		return nil
	case e := <-l.grants:
		return e
	case e := <-l.events:
		return e
	case <-tick:
		return core.Tick{}
	}
}

// snapshot returns the Agent as of the last event, for status and explain.
func (l *loop) snapshot() core.Agent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.agent
}

func (l *loop) run(ctx context.Context, tick time.Duration) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		e := l.next(ctx, ticker.C)
		if e == nil {
			return
		}
		l.mu.Lock()
		next, actions := core.Step(l.agent, now(), e)
		l.beat()
		l.agent = next
		l.mu.Unlock()
		for _, a := range actions {
			l.do(a)
		}
	}
}

// inFlight runs at most one job for each key at a time; a second one is
// dropped, since core repeats what is still wanted.
type inFlight struct {
	mu   sync.Mutex
	keys map[string]bool
	wait sync.WaitGroup
}

func (f *inFlight) run(key string, job func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys[key] {
		return
	}
	if f.keys == nil {
		f.keys = map[string]bool{}
	}
	f.keys[key] = true
	f.wait.Add(1)
	go func() {
		defer f.wait.Done()
		defer f.end(key)
		job()
	}()
}

func (f *inFlight) end(key string) {
	f.mu.Lock()
	delete(f.keys, key)
	f.mu.Unlock()
}

// do carries out one action. Nothing here may block: the loop is what pets the
// watchdog.
func (n *Node) do(a core.Action) {
	run := func(job func()) { n.jobs.run(a.Key(), job) }
	switch a := a.(type) {
	case core.PetWatchdog:
		n.watchdog.order(watchdog.Order{Pet: true, NotAfter: a.NotAfter, At: now()})
	case core.WithholdWatchdog:
		n.watchdog.order(watchdog.Order{Why: a.Why, At: now()})
	case core.AskLease:
		run(func() { n.askLease(a) })
	case core.GrantLease:
		n.leases.answer(a.Host, a.AskedAt, leaseAnswer{granted: true, index: a.Index})
	case core.RefuseLease:
		n.leases.answer(a.Host, a.AskedAt, leaseAnswer{why: a.Why})
	case core.StartGuest:
		run(func() { n.startGuest(a) })
	case core.KillGuest:
		run(func() { n.killGuest(a) })
	case core.ResumeSource:
		run(func() { n.resumeSource(a) })
	case core.PrepareIncoming:
		run(func() { n.prepareIncoming(a) })
	case core.ExpectMove:
		run(func() { n.expectMove(a) })
	case core.RunMove:
		run(func() { n.runMove(a) })
	case core.AllowStop:
		n.moves.allowStop(a.Move)
	case core.AbortMove:
		run(func() { n.abortMove(a) })
	case core.Propose:
		run(func() { n.propose(a) })
	case core.Fence:
		// No fence device is supported yet; core does not ask for one.
	default:
		n.log.Error("an action without an executor: this is a bug", "action", fmt.Sprintf("%T", a))
	}
}
