package core

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bumpless/ha/plan"
)

// leading is an agent on the witness that leads since 1 s, in contact with the
// named hosts.
func leading(t *testing.T, l *log, contact ...string) *bench {
	b := newBench(t, l, "w")
	b.agent = New(Config{Self: "w", Role: Witness, Timing: DefaultTiming()}, 0)
	b.step(1*s, StateChanged{State: l.state})
	b.step(1*s, LeadershipChanged{Leader: true, Term: 1})
	for _, host := range contact {
		b.step(1*s, LeaseRequested{Host: host, AskedAt: 1, Verified: true})
	}
	return b
}

func TestExplainSaysWhatAGuestWaitsFor(t *testing.T) {
	refused := func(o Outcome) *log {
		l := site(t).place("scada", "a").move("scada", "b").ready("scada")
		l.do(hostOrder("a"), Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: o, Why: "needs 1.4x the link"}})
		return l
	}
	tests := []struct {
		name    string
		given   *log
		contact []string
		term    string
		why     string
	}{
		{"a refused move", refused(Refused), []string{"a", "b"}, "refused", "needs 1.4x the link; not tried again until"},
		{"a rolled-back move", refused(RolledBack), []string{"a", "b"}, "back-off", "try 2 comes after a pause"},
		{"a move that is on", site(t).place("scada", "a").move("scada", "b"), []string{"a", "b"}, "moving", "move scada-2 to b is preparing"},
		{"a silent host", site(t).place("scada", "a"), []string{"b"}, "waiting-period", "host a is silent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := leading(t, tt.given, tt.contact...)
			at := 2 * s
			if tt.term == "waiting-period" {
				at = 5 * s
			}
			e, err := b.agent.Explain(at, "scada")
			if err != nil {
				t.Fatal(err)
			}
			for _, term := range e.Terms {
				if term.Name == tt.term && strings.Contains(term.Why, tt.why) {
					return
				}
			}
			t.Errorf("Explain() = %+v; want a term %s with %q", e.Terms, tt.term, tt.why)
		})
	}
}

func TestExplainNeedsAGuestAndKnowsItsLimits(t *testing.T) {
	b := newBench(t, site(t), "a")
	if _, err := b.agent.Explain(0, "nobody"); err == nil || !strings.Contains(err.Error(), "see `bumpless guests`") {
		t.Errorf("Explain(nobody) = %v; want where to look", err)
	}
	b.step(1*s, StateChanged{State: b.state})
	e, err := b.agent.Explain(1*s, "scada")
	if err != nil || !slices.ContainsFunc(e.Terms, func(x plan.Term) bool { return x.Name == "not-leader" }) {
		t.Errorf("Explain() = %+v, %v on a host that does not lead; want that said", e, err)
	}
}

// The view is what `bumpless status` shows of this host.
func TestViewShowsLeaseWatchdogAndSilence(t *testing.T) {
	l := site(t).place("scada", "a")
	b := newBench(t, l, "a")
	if v := b.agent.View(0); v.Leased || v.Withheld == "" || v.Leader || v.Silence != nil {
		t.Errorf("View() = %+v at the start; want no lease, and the watchdog withheld", v)
	}
	b.step(1*s, GuestsObserved{Asked: 1 * s, Copies: []Observed{{Guest: "scada", Epoch: 1, Status: Running}}})
	b.lease(1 * s)
	b.step(1*s, LeadershipChanged{Leader: true, Term: 1})
	b.step(1500*time.Millisecond, LeaseRequested{Host: "b", AskedAt: 9, Verified: true})
	v := b.agent.View(2 * s)
	if !v.Leased || v.LeaseLeft != 2*s || v.Withheld != "" || !v.Leader || len(v.Copies) != 1 || v.Index != l.state.Index || v.NeedIndex != l.state.Index {
		t.Errorf("View() = %+v; want a lease for 2 s more and one copy", v)
	}
	if v.Silence["b"] != 500*time.Millisecond || v.Silence["c"] != s || len(v.Silence) != 3 {
		t.Errorf("silence = %v; want b for 0.5 s, c for 1 s since the election", v.Silence)
	}
	if late := b.agent.View(4 * s); late.Leased || late.Withheld == "" {
		t.Errorf("View() = %+v at the lease's end; want none", late)
	}
}

// The daemon drops an action whose key is being carried out, so that two things
// to do must never share one, and the same thing always has the same.
func TestDifferentActionsHaveDifferentKeys(t *testing.T) {
	m := Move{ID: "g-2", Guest: "g"}
	list := []Action{AskLease{AskedAt: 1}, AskLease{AskedAt: 2}, GrantLease{Host: "a", AskedAt: 1}, GrantLease{Host: "b", AskedAt: 1}, RefuseLease{Host: "a", AskedAt: 1},
		StartGuest{Guest: "g", Epoch: 1}, StartGuest{Guest: "g", Epoch: 2}, KillGuest{Guest: "g", Epoch: 1}, PetWatchdog{}, PrepareIncoming{Move: m}, ExpectMove{Move: m}, RunMove{Move: m},
		AllowStop{Move: "g-2"}, AbortMove{Move: "g-2"}, ResumeSource{Guest: "g", Epoch: 1}, Propose{ProposalKey: "gone/a"}, Propose{ProposalKey: "gone/b"}, Fence{Host: "a"}, Fence{Host: "b"}}
	seen := map[string]Action{}
	for _, a := range list {
		if other, twice := seen[a.Key()]; twice {
			t.Errorf("%#v and %#v share the key %q", a, other, a.Key())
		}
		seen[a.Key()] = a
	}
	if (PetWatchdog{NotAfter: 1}).Key() != (WithholdWatchdog{}).Key() || (KillGuest{Guest: "g", Epoch: 1, Why: "x"}).Key() != (KillGuest{Guest: "g", Epoch: 1}).Key() {
		t.Error("the same thing to do has two keys")
	}
}
