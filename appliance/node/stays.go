package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"bumpless/ha/core"
	"bumpless/ha/plan"
)

// outlookEvery: how often a drain that does not move anything is asked about.
const outlookEvery = 500 * time.Millisecond

// stays says why the guest does not leave a host that is drained, "" when it does.
// e is where its leader would move it.
func stays(s core.State, g core.Guest, e plan.Explanation) string {
	if e.To == "" {
		return e.Why
	}
	r := core.Check(s, core.Command{By: core.Order{Role: core.RoleHost},
		BeginMove: &core.BeginMove{ID: core.MoveID(g.Name, g.Epoch+1), Guest: g.Name, To: e.To, Epoch: g.Epoch}})
	switch r.Code {
	case "", core.Moving, core.GroupMoving, core.NotRunning, core.Stale:
		return "" // these pass by themselves
	}
	return strings.TrimPrefix(r.Text, "guest "+g.Name+" stays: ")
}

// waits says why the last move of the guest was refused, when nothing has changed
// since: its leader does not try again before something does.
func waits(s core.State, g core.Guest) string {
	m, ok := s.FindMove(g.LastMove)
	if !ok || m.From != g.Owner || m.Outcome != core.Refused || s.Landscape > m.Landscape {
		return ""
	}
	return fmt.Sprintf("move %s was refused: %s", m.ID, m.Why)
}

// stuck says why a drain will not go on by itself: every guest that is left stays.
// "" when one may move yet, or when explain does not know.
func stuck(s core.State, host string, explain func(guest string) (plan.Explanation, bool)) string {
	if len(s.Moves) > 0 {
		return "" // its end may make room, or let a partner go
	}
	var left []string
	again := ""
	for _, g := range s.Guests {
		if _, there := g.MayRun[host]; !there {
			continue
		}
		if g.Owner != host || !g.Wanted { // about to be gone
			return ""
		}
		why := waits(s, g)
		if why != "" {
			again = ", or it is ordered again"
		} else if e, known := explain(g.Name); known {
			why = stays(s, g, e)
		}
		if why == "" {
			return ""
		}
		left = append(left, fmt.Sprintf("guest %s stays (%s)", g.Name, why))
	}
	if len(left) == 0 {
		return ""
	}
	slices.Sort(left)
	return fmt.Sprintf("%s: the drain waits until that changes%s; `bumpless resume %s` takes it back", strings.Join(left, ", "), again, host)
}

// outlook asks the leader about a guest. Without it nobody knows which hosts are in
// contact, and nothing can be said.
func (n *Node) outlook(ctx context.Context) func(guest string) (plan.Explanation, bool) {
	return func(guest string) (plan.Explanation, bool) {
		list, err := n.explain(ctx, guest)
		if err != nil || len(list) != 1 {
			return plan.Explanation{}, false
		}
		return list[0], !slices.ContainsFunc(list[0].Terms, func(t plan.Term) bool { return t.Name == core.NotLeader })
	}
}

// lasting is for what is true only for a moment now and then: a new leader has not
// heard from every host yet.
type lasting struct {
	since time.Time // zero: it is not so
}

func (l *lasting) is(so bool, at time.Time, least time.Duration) bool {
	switch {
	case !so:
		l.since = time.Time{}
	case l.since.IsZero():
		l.since = at
	}
	return so && at.Sub(l.since) >= least
}

// drainText says how many guests move, and how many stay.
func drainText(moving, staying int) string {
	guests := func(n int, verb string) string {
		if n == 1 {
			return "1 guest " + verb + "s"
		}
		return fmt.Sprintf("%d guests %s", n, verb)
	}
	switch {
	case moving+staying == 0:
		return "no guest is on it"
	case staying == 0:
		return guests(moving, "move")
	case moving == 0:
		return guests(staying, "stay")
	}
	return guests(moving, "move") + ", " + fmt.Sprintf("%d %s", staying, map[bool]string{true: "stays", false: "stay"}[staying == 1])
}
