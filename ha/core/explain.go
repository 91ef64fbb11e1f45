package core

import (
	"fmt"
	"slices"
	"time"

	"bumpless/ha/plan"
)

// choose asks plan for a destination of g, with what this leader knows.
func (a Agent) choose(now time.Duration, g Guest) plan.Explanation {
	return plan.Choose(
		plan.Guest{Name: g.Name, MemoryMiB: g.MemoryMiB, Group: g.Group, Preferred: g.Preferred, From: g.Owner, DiskHost: g.DiskHost},
		a.planHosts(now, g))
}

func (a Agent) planHosts(now time.Duration, g Guest) []plan.Host {
	var list []plan.Host
	for _, name := range sortedKeys(a.state.Hosts) {
		h := a.state.Hosts[name]
		p := plan.Host{Name: name, Server: h.Role == Server, InService: h.Service == InService,
			Contact: a.contact(now, name), MemoryMiB: h.MemoryMiB, FreeMiB: a.state.FreeMiB(name, g.Name)}
		for _, o := range a.state.Guests {
			if _, there := o.MayRun[name]; there && o.Name != g.Name {
				p.Guests++
				p.Groups = append(p.Groups, o.Group)
			}
		}
		for _, m := range a.state.Past {
			if m.Guest == g.Name && m.From == name && m.Outcome == Moved {
				p.RecentDepartures++
			}
		}
		slices.Sort(p.Groups) // the map's order must not show
		list = append(list, p)
	}
	return list
}

// NotLeader names the term of an explanation that was made without knowing which
// hosts are in contact.
const NotLeader = "not-leader"

// Explain says where the guest would go now, every host's cost, and what an
// automatic move of it waits for. It knows of contact only on the leader.
func (a Agent) Explain(now time.Duration, guest string) (plan.Explanation, error) {
	g, ok := a.state.Guests[guest]
	if !ok {
		return plan.Explanation{}, fmt.Errorf("explain: %s", unknownGuest(guest).Text)
	}
	e := a.choose(now, g)
	if wait, why := a.held(now, g); wait {
		e.Terms = append(e.Terms, why)
	}
	if m, moving := a.state.Moves[guest]; moving {
		e.Terms = append(e.Terms, plan.Term{Name: "moving", Value: 1, Why: fmt.Sprintf("move %s to %s is %s", m.ID, m.To, m.Phase)})
	}
	for _, host := range sortedKeys(g.MayRun) {
		silent := a.silence(now, host)
		if a.leader.leads && host != a.cfg.Self && silent > a.cfg.Timing.AskInterval()*2 {
			left := (a.cfg.Timing.WaitingPeriod() - silent).Seconds()
			e.Terms = append(e.Terms, plan.Term{Name: "waiting-period", Value: max(left, 0), Unit: "s",
				Why: "host " + host + " is silent; its copy counts as alive until it is proved stopped"})
		}
	}
	if !a.leader.leads {
		e.Terms = append(e.Terms, plan.Term{Name: NotLeader, Value: 1, Why: "host " + a.cfg.Self + " does not lead: which hosts are in contact is known to the leader only"})
	}
	return e, nil
}
