package node

import (
	"strings"
	"testing"
	"time"

	"bumpless/ha/core"
	"bumpless/ha/plan"
)

// draining is a site whose host-a is taken out of service, with prot1 on it.
func draining() core.State {
	s := newLeading("host-a", "host-b", "witness").log
	a := s.Hosts["host-a"]
	a.Service = core.Draining
	s.Hosts["host-a"] = a
	s.Guests["prot1"] = core.Guest{GuestSpec: core.GuestSpec{Name: "prot1", Group: "bay-1"}, Wanted: true, Owner: "host-a", Epoch: 3, Copy: 3, MayRun: map[string]uint64{"host-a": 3}}
	return s
}

func TestADrainThatCannotGoOnSaysWhy(t *testing.T) {
	toB := plan.Explanation{To: "host-b"}
	partner := func(s core.State, mayRun map[string]uint64) {
		s.Guests["prot2"] = core.Guest{GuestSpec: core.GuestSpec{Name: "prot2", Group: "bay-1"}, Wanted: true, Owner: "host-b", Epoch: 1, Copy: 1, MayRun: mayRun}
	}
	refused := func(s *core.State, landscape uint64) {
		g := s.Guests["prot1"]
		g.LastMove = "prot1-3"
		s.Guests["prot1"] = g
		s.Past = []core.Move{{ID: "prot1-3", Guest: "prot1", From: "host-a", Outcome: core.Refused, Why: "needs 84 ms", Landscape: landscape}}
		s.Landscape = 5
	}
	for _, c := range []struct {
		what    string
		change  func(*core.State)
		explain plan.Explanation
		unknown bool
		want    string // "": it may go on
	}{
		{"a guest that moves next", func(*core.State) {}, toB, false, ""},
		{"no host can take it", func(*core.State) {}, plan.Explanation{Why: "no host can take guest prot1: host-b: out of service"}, false,
			"guest prot1 stays (no host can take guest prot1: host-b: out of service): the drain waits until that changes; `bumpless resume host-a` takes it back"},
		{"the log refuses its move", func(s *core.State) { partner(*s, map[string]uint64{}) }, toB, false, "guest prot1 stays (its partner prot2 in group bay-1 does not run"},
		{"its move was refused", func(s *core.State) { refused(s, 5) }, toB, false,
			"guest prot1 stays (move prot1-3 was refused: needs 84 ms): the drain waits until that changes, or it is ordered again; `bumpless resume host-a` takes it back"},
		{"its move was refused, and something has changed", func(s *core.State) { refused(s, 4) }, toB, false, ""},
		{"another guest moves", func(s *core.State) { s.Moves["scada"] = core.Move{ID: "scada-2", Guest: "scada"} }, plan.Explanation{Why: "no host can take it"}, false, ""},
		{"the guest is ordered to stop", func(s *core.State) {
			g := s.Guests["prot1"]
			g.Wanted = false
			s.Guests["prot1"] = g
		}, plan.Explanation{Why: "no host can take it"}, false, ""},
		{"no leader says where it would go", func(*core.State) {}, plan.Explanation{}, true, ""},
		{"nothing is left", func(s *core.State) { delete(s.Guests, "prot1") }, plan.Explanation{}, false, ""},
	} {
		s := draining()
		c.change(&s)
		got := stuck(s, "host-a", func(string) (plan.Explanation, bool) { return c.explain, !c.unknown })
		if !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("%s: stuck() = %q; want %q", c.what, got, c.want)
		}
	}
}

func TestWhatIsSoForAMomentDoesNotEndADrain(t *testing.T) {
	var l lasting
	at := time.Unix(0, 0)
	for _, c := range []struct {
		after time.Duration
		so    bool
		want  bool
	}{{0, true, false}, {2 * time.Second, true, false}, {2500 * time.Millisecond, false, false}, {4 * time.Second, true, false}, {7 * time.Second, true, true}} {
		if got := l.is(c.so, at.Add(c.after), 3*time.Second); got != c.want {
			t.Errorf("after %v: is(%v) = %v; want %v", c.after, c.so, got, c.want)
		}
	}
}

func TestADrainsFirstLineCountsGuests(t *testing.T) {
	for _, c := range []struct {
		moves, stay int
		want        string
	}{
		{0, 0, "no guest is on it"}, {1, 0, "1 guest moves"}, {3, 0, "3 guests move"}, {0, 1, "1 guest stays"}, {0, 2, "2 guests stay"},
		{1, 1, "1 guest moves, 1 stays"}, {2, 3, "2 guests move, 3 stay"},
	} {
		if got := drainText(c.moves, c.stay); got != c.want {
			t.Errorf("drainText(%d, %d) = %q; want %q", c.moves, c.stay, got, c.want)
		}
	}
}
