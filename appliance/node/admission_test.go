package node

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bumpless/ha/core"
)

// leading is an admission with a log of its own, whose commands take a while.
type leading struct {
	admission
	mu      sync.Mutex
	log     core.State
	entered []core.Command
}

func newLeading(hosts ...string) *leading {
	l := &leading{log: core.NewState()}
	for _, name := range hosts {
		l.log.Hosts[name] = core.Host{Name: name, Role: core.Server, Service: core.InService}
	}
	l.term = func() uint64 { return 7 }
	l.silent = func() []string { return nil }
	l.state = func() core.State { l.mu.Lock(); defer l.mu.Unlock(); return l.log }
	l.admission.propose = func(ctx context.Context, c core.Command) (core.Result, error) {
		time.Sleep(10 * time.Millisecond)
		if ctx.Err() != nil {
			return core.Result{}, ctx.Err()
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.entered = append(l.entered, c)
		next, r := core.Apply(l.log, c)
		l.log = next
		return r, nil
	}
	return l
}

func drainOrder(host string) core.Command {
	return core.Command{By: core.Order{Name: "olga", Role: "OPERATOR"}, SetMaintenance: &core.SetMaintenance{Host: host, On: true}}
}

func TestOfTwoDrainsAtATimeALeaderTakesOne(t *testing.T) {
	l := newLeading("host-a", "host-b", "host-c")
	gone, leave := context.WithCancel(context.Background())
	leave() // whoever ordered the first one did not wait
	var wait sync.WaitGroup
	results := make([]core.Result, 3)
	for i, host := range []string{"host-a", "host-b", "host-c"} {
		wait.Add(1)
		go func() {
			defer wait.Done()
			r, err := l.enter(gone, drainOrder(host))
			if err != nil {
				t.Errorf("enter(drain %s) = %v; want an answer", host, err)
			}
			results[i] = r
		}()
	}
	wait.Wait()
	refused := 0
	for _, r := range results {
		if r.Code == core.NoQuorum {
			refused++
		}
	}
	if refused != 2 || len(l.entered) != 1 || l.entered[0].Term != 7 {
		t.Errorf("results %+v, entered %+v; want one drain entered, in term 7, and two refused", results, l.entered)
	}
}

func TestALeaderCountsAHostThatItDoesNotHearOf(t *testing.T) {
	l := newLeading("host-a", "host-b", "witness")
	l.silent = func() []string { return []string{"host-a"} }
	r, err := l.enter(context.Background(), drainOrder("witness"))
	if err != nil || r.Code != core.NoQuorum || !strings.Contains(r.Text, "host-a not answering") {
		t.Errorf("enter(drain witness) = %+v, %v; want it refused since host-a does not answer", r, err)
	}
}

func TestAHostIsSilentWhenItsLeaseCannotHold(t *testing.T) {
	silences := map[string]float64{"host-a": 60, "host-c": 4, "host-b": 5, "host-d": 3}
	if got, want := longerThan(3*time.Second, silences, "host-a"), []string{"host-b", "host-c"}; !slices.Equal(got, want) {
		t.Errorf("silent are %q; want %q", got, want)
	}
}

func TestADrainsLastLineSaysWhatMayFailMeanwhile(t *testing.T) {
	s := newLeading("host-a", "host-b", "witness").log
	out := func(name string) {
		s.Hosts[name] = core.Host{Name: name, Role: core.Server, Service: core.Maintenance}
	}
	out("host-a")
	if got, want := drained(s, s.Hosts["host-a"]), "host host-a runs no guest and can be switched off; no other host may fail until it is back"; got != want {
		t.Errorf("drained() = %q; want %q", got, want)
	}
	out("witness")
	got := drained(s, s.Hosts["witness"])
	if strings.Contains(got, "can be switched off") || !strings.Contains(got, "with host-a out of service too, 1 of 3 hosts would be left in service and 2 are needed") {
		t.Errorf("drained() beside host-a = %q; want no go-ahead, and why", got)
	}
}
