package core

import "testing"

func TestAHostProposesForItselfAndForPeopleOnly(t *testing.T) {
	own, other := Order{Name: "a", Role: RoleHost}, Order{Name: "b", Role: RoleHost}
	person := Order{Name: "erika", Role: "OPERATOR"}
	for _, c := range []struct {
		what    string
		command Command
		want    bool
	}{
		{"its own copy stopped", Command{By: own, ReportStopped: &ReportStopped{Host: "a"}}, true},
		{"another's copy stopped", Command{By: own, ReportStopped: &ReportStopped{Host: "b"}}, false},
		{"another's copy stopped, in a person's name", Command{By: person, ReportStopped: &ReportStopped{Host: "b"}}, false},
		{"in another host's name", Command{By: other, ReportStopped: &ReportStopped{Host: "b"}}, false},
		{"the end of its move", Command{By: own, FinishMove: &FinishMove{}}, true},
		{"the end of a move, in a person's name", Command{By: person, FinishMove: &FinishMove{}}, false},
		{"a person's move", Command{By: person, BeginMove: &BeginMove{}}, true},
		{"a move of its own", Command{By: own, BeginMove: &BeginMove{}}, false},
		{"a person's drain", Command{By: person, SetMaintenance: &SetMaintenance{}}, true},
		{"who is gone", Command{By: own, HostGone: &HostGone{}}, false},
		{"a host of the site", Command{By: person, RegisterHost: &RegisterHost{}}, false},
		{"a new start of the guest that only it may start", Command{By: own, Assign: &Assign{Guest: "scada", To: "a"}}, true},
		{"the same in another host's name", Command{By: other, Assign: &Assign{Guest: "scada", To: "a"}}, false},
		{"the same in a person's name", Command{By: person, Assign: &Assign{Guest: "scada", To: "a"}}, false},
		{"its guest to another host", Command{By: own, Assign: &Assign{Guest: "scada", To: "b"}}, false},
		{"another host's guest to itself", Command{By: own, Assign: &Assign{Guest: "main1", To: "a"}}, false},
		{"a guest that runs nowhere to itself", Command{By: own, Assign: &Assign{Guest: "main2", To: "a"}}, false},
		{"a guest that is not known to itself", Command{By: own, Assign: &Assign{Guest: "x", To: "a"}}, false},
	} {
		l := site(t).place("scada", "a").place("main1", "b")
		if got := MayForward(l.state, "a", c.command); got != c.want {
			t.Errorf("%s: MayForward() = %v; want %v", c.what, got, c.want)
		}
	}
}
