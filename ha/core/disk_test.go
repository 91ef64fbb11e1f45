package core

import (
	"strings"
	"testing"
)

// withDisk gives the guest a local disk.
func (l *log) withDisk(guest string) *log {
	l.t.Helper()
	spec := l.state.Guests[guest].GuestSpec
	spec.LocalDisk = true
	l.do(hostOrder("a"), Command{RegisterGuest: &RegisterGuest{GuestSpec: spec}})
	return l
}

func TestALocalDiskIsWhereTheGuestWroteLast(t *testing.T) {
	finish := func(l *log, o Outcome) *log {
		m := l.state.Moves["scada"]
		l.do(hostOrder(m.From), Command{FinishMove: &FinishMove{ID: m.ID, Outcome: o}})
		return l
	}
	for _, c := range []struct {
		name string
		log  *log
		want string
	}{
		{"never run", site(t).withDisk("scada"), ""},
		{"started", site(t).withDisk("scada").place("scada", "a"), "a"},
		{"no local disk", site(t).place("scada", "a"), ""},
		{"a disk that was added while it runs", site(t).place("scada", "b").withDisk("scada"), "b"},
		{"being moved", site(t).withDisk("scada").place("scada", "a").move("scada", "b").ready("scada"), "a"},
		{"moved", finish(site(t).withDisk("scada").place("scada", "a").move("scada", "b").ready("scada"), Moved), "b"},
		{"rolled back", finish(site(t).withDisk("scada").place("scada", "a").move("scada", "b").ready("scada"), RolledBack), "a"},
		{"its host lost", site(t).withDisk("scada").place("scada", "a").gone("a"), "a"},
		{"both hosts lost in a move", site(t).withDisk("scada").place("scada", "a").move("scada", "b").ready("scada").doubt("scada").gone("b").gone("a"), "a"},
	} {
		if got := c.log.state.Guests["scada"].DiskHost; got != c.want {
			t.Errorf("%s: DiskHost = %q; want %q", c.name, got, c.want)
		}
	}
}

func TestAGuestIsNotStartedWithoutItsLocalDisk(t *testing.T) {
	l := site(t).withDisk("scada").place("scada", "a").gone("a")
	assign := func(to string) Result {
		return l.try(hostOrder("w"), Command{Assign: &Assign{Guest: "scada", To: to, Epoch: l.state.Guests["scada"].Epoch, Reason: "test"}})
	}
	if r := assign("b"); r.Code != DiskElsewhere || !strings.Contains(r.Text, "is on host a only: bring that host back") {
		t.Errorf("Assign to b = %+v; want it refused, host a named", r)
	}
	b := leading(t, l, "b", "c")
	e, err := b.agent.Explain(2*s, "scada")
	if err != nil || e.To != "" || !strings.Contains(e.Why, "local disk is on host a only") {
		t.Errorf("Explain() = %+v, %v; want no host, and why", e, err)
	}
	if r := assign("a"); !r.OK() {
		t.Errorf("Assign to a = %+v; want it carried out", r)
	}
}

// assigned is where a leader that hears b and c for long places scada; "" when
// it does not.
func assigned(t *testing.T, l *log) string {
	b := leading(t, l)
	var actions []Action
	for _, host := range []string{"b", "c"} {
		actions = append(actions, b.step(30*s, LeaseRequested{Host: host, AskedAt: 1, Verified: true})...)
	}
	for _, a := range append(actions, b.step(30*s, Tick{})...) {
		if p, ok := a.(Propose); ok && p.Command.Assign != nil && p.Command.Assign.Guest == "scada" {
			return p.Command.Assign.To
		}
	}
	return ""
}

func TestALeaderPlacesNoGuestWithoutItsLocalDisk(t *testing.T) {
	lost := func(l *log) *log { return l.want("main1", false).want("main2", false).place("scada", "a").gone("a") }
	if to := assigned(t, lost(site(t))); to != "b" {
		t.Errorf("without a local disk it goes to %q; want b", to)
	}
	if to := assigned(t, lost(site(t).withDisk("scada"))); to != "" {
		t.Errorf("with a local disk on a lost host it goes to %q; want nowhere", to)
	}
}

func TestADiskThatIsGivenUpInTheSiteFileFreesTheGuest(t *testing.T) {
	l := site(t).withDisk("scada").place("scada", "a").gone("a")
	spec := l.state.Guests["scada"].GuestSpec
	spec.LocalDisk = false
	l.do(hostOrder("b"), Command{RegisterGuest: &RegisterGuest{GuestSpec: spec}})
	l.place("scada", "b")
}
