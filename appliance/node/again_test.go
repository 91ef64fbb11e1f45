package node

import (
	"testing"

	"bumpless/ha/core"
	"bumpless/migrate/gateway"
)

func TestAMoveThatALANEndedIsTriedOnceMoreInItsOwnersName(t *testing.T) {
	type all struct {
		state  core.State
		move   core.Move
		result gateway.Result
	}
	for _, c := range []struct {
		name   string
		change func(a *all)
		want   bool
	}{
		{"a LAN died", func(*all) {}, true},
		{"the log has not closed it", func(a *all) { a.state.Past = nil }, false},
		{"it was refused", func(a *all) { a.result.Outcome = gateway.Refused }, false},
		{"the guest was stopped", func(a *all) { a.result.Outcome = gateway.RolledBack }, false},
		{"it was not the link", func(a *all) { a.result.LinkBroke = false }, false},
		{"it is the second try", func(a *all) { a.move.Reason = again + a.move.Reason }, false},
		{"a drain", func(a *all) { a.move.By.Role = core.RoleHost }, false},
		{"the guest is to stop", func(a *all) { a.state.Guests["g"] = core.Guest{} }, false},
		{"another move was ordered meanwhile", func(a *all) {
			g := a.state.Guests["g"]
			g.LastMove = "g-9"
			a.state.Guests["g"] = g
		}, false},
	} {
		a := all{move: core.Move{ID: "g-4", Guest: "g", From: "host-a", To: "host-b", Epoch: 4, Reason: "operator", By: core.Order{Name: "jo", Role: "OPERATOR"}},
			result: gateway.Result{Outcome: gateway.Failed, LinkBroke: true}}
		ended := a.move
		ended.Phase, ended.Outcome = core.Finished, core.Failed
		g := core.Guest{Owner: "host-a", Epoch: 4, LastMove: "g-4", Wanted: true}
		g.Name = "g"
		a.state = core.State{Guests: map[string]core.Guest{"g": g}, Past: []core.Move{ended}}
		c.change(&a)
		got, ok := anotherTry(a.state, a.move, a.result)
		if ok != c.want {
			t.Errorf("%s: tried again: %v; want %v", c.name, ok, c.want)
		}
		if b := got.BeginMove; ok && (b.ID != "g-5" || b.To != "host-b" || b.Epoch != 4 || b.Reason != again+"operator" || got.By != a.move.By) {
			t.Errorf("%s: %+v by %+v; want move g-5 to host-b by jo", c.name, *b, got.By)
		}
	}
}
