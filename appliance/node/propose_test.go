package node

import (
	"testing"

	"bumpless/ha/core"
)

func TestAHostProposesForItselfAndForPeopleOnly(t *testing.T) {
	own, other := core.Order{Name: "host-a", Role: core.RoleHost}, core.Order{Name: "host-b", Role: core.RoleHost}
	person := core.Order{Name: "erika", Role: "OPERATOR"}
	for _, c := range []struct {
		what    string
		command core.Command
		want    bool
	}{
		{"its own copy stopped", core.Command{By: own, ReportStopped: &core.ReportStopped{Host: "host-a"}}, true},
		{"another's copy stopped", core.Command{By: own, ReportStopped: &core.ReportStopped{Host: "host-b"}}, false},
		{"another's copy stopped, in a person's name", core.Command{By: person, ReportStopped: &core.ReportStopped{Host: "host-b"}}, false},
		{"in another host's name", core.Command{By: other, ReportStopped: &core.ReportStopped{Host: "host-b"}}, false},
		{"the end of its move", core.Command{By: own, FinishMove: &core.FinishMove{}}, true},
		{"the end of a move, in a person's name", core.Command{By: person, FinishMove: &core.FinishMove{}}, false},
		{"a person's move", core.Command{By: person, BeginMove: &core.BeginMove{}}, true},
		{"a move of its own", core.Command{By: own, BeginMove: &core.BeginMove{}}, false},
		{"a person's drain", core.Command{By: person, SetMaintenance: &core.SetMaintenance{}}, true},
		{"who is gone", core.Command{By: own, HostGone: &core.HostGone{}}, false},
		{"who runs what", core.Command{By: own, Assign: &core.Assign{}}, false},
		{"a host of the site", core.Command{By: person, RegisterHost: &core.RegisterHost{}}, false},
	} {
		if got := mayForward("host-a", c.command); got != c.want {
			t.Errorf("%s: mayForward() = %v; want %v", c.what, got, c.want)
		}
	}
}
