package node

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"bumpless/appliance/api"
	"bumpless/ha/core"
)

func TestARenewedLeaseIsTakenBeforeWhatWaitsLonger(t *testing.T) {
	l := newTestNode(t).loop
	ctx := context.Background()
	for range eventBacklog / 2 {
		l.post(ctx, core.GuestsObserved{})
	}
	l.post(ctx, core.LeaseReply{Granted: true})
	if e, ok := l.next(ctx, nil).(core.LeaseReply); !ok || !e.Granted {
		t.Errorf("first of the waiting events is not the lease")
	}
	if _, ok := l.next(ctx, nil).(core.GuestsObserved); !ok {
		t.Errorf("after the lease the others do not follow")
	}
}

func TestTheLoopTicksWhenNothingHappensAndEndsWithItsContext(t *testing.T) {
	l := newTestNode(t).loop
	tick := make(chan time.Time, 1)
	tick <- time.Now()
	if _, ok := l.next(context.Background(), tick).(core.Tick); !ok {
		t.Error("next() without an event is no Tick")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if e := l.next(ctx, nil); e != nil {
		t.Errorf("next() after the end = %T; want nil", e)
	}
}

func TestAFullQueueHoldsTheSenderUntilItsContextEnds(t *testing.T) {
	l := newTestNode(t).loop
	for range eventBacklog {
		l.post(context.Background(), core.Tick{})
	}
	ctx, cancel := context.WithCancel(context.Background())
	posted := make(chan struct{})
	go func() { defer close(posted); l.post(ctx, core.Tick{}) }()
	select {
	case <-posted:
		t.Fatal("an event was dropped: post() into a full queue returned")
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	select {
	case <-posted:
	case <-time.After(patience):
		t.Error("post() did not give up when its context ended")
	}
}

func TestAnActionThatIsBeingCarriedOutIsNotBegunTwice(t *testing.T) {
	var f inFlight
	var ran atomic.Int32
	hold := make(chan struct{})
	job := func() { ran.Add(1); <-hold }
	f.run("start/g", job)
	f.run("start/g", job)
	f.run("kill/g", job)
	close(hold)
	f.wait.Wait()
	if n := ran.Load(); n != 2 {
		t.Errorf("jobs run = %d; want 2, one for each key", n)
	}
	f.run("start/g", job)
	f.wait.Wait()
	if n := ran.Load(); n != 3 {
		t.Errorf("jobs run = %d; want 3, the key is free again", n)
	}
}

func TestWithinTellsWhetherItEndedInTime(t *testing.T) {
	if !within(patience, func() {}) {
		t.Error("within() of what ends at once = false; want true")
	}
	hold := make(chan struct{})
	defer close(hold)
	if within(time.Millisecond, func() { <-hold }) {
		t.Error("within() of what hangs = true; want false")
	}
}

func TestAStatusNeverHasNullForAList(t *testing.T) {
	hosts, guests := statusLists(core.NewState(), core.View{}, nil)
	b, err := json.Marshal(api.Status{Hosts: hosts, Guests: guests})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hosts", "guests"} {
		if list, ok := fields[name].([]any); !ok || len(list) != 0 {
			t.Errorf("%s of the status before the first host is known = %v; want []", name, fields[name])
		}
	}
}
