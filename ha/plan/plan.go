// Package plan chooses where a guest goes. It is pure: what it is told goes
// in, a destination and the whole reasoning come out, so that `bumpless
// explain` can show every term of every host's cost.
//
// A host is ruled out by name (out of service, no contact, partner there, no
// room); among the others the lowest cost wins, and of equal ones the first by
// name. The cost has no unit; its weights are chosen so that
//
//	preferred host  >  one recent move (no ping-pong)  >  one guest's worth of load
package plan

import (
	"cmp"
	"fmt"
	"slices"
)

// Weights of the cost; see the package comment for their order.
const (
	costNotPreferred = 100
	costRecentMove   = 30 // per move of this guest away from that host lately
	costMemoryFull   = 20 // for a host whose guest memory would be used up, in proportion below
	costPerGuest     = 5
)

// Host is what is known of one possible destination.
type Host struct {
	Name      string
	Server    bool
	InService bool
	// Contact: the leader granted it a lease within the last lease time.
	Contact bool
	// MemoryMiB for guests in all (0: unknown) and FreeMiB of it.
	MemoryMiB, FreeMiB int
	Guests             int      // copies on it
	Groups             []string // redundancy groups with a copy on it
	RecentDepartures   int      // remembered moves of this guest away from it
}

// Guest that is to be placed.
type Guest struct {
	Name      string
	MemoryMiB int
	Group     string // "" for none
	Preferred string // "" for none
	From      string // where it runs, "" when nowhere
	// DiskHost alone has what the guest wrote to its local disk; "" for none. A
	// guest that runs takes its disk along.
	DiskHost string
}

// Term is one named number of a cost or a limit.
type Term struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Why   string  `json:"why"`
}

// Candidate is one host with its cost, or with what rules it out.
type Candidate struct {
	Host     string  `json:"host"`
	RuledOut string  `json:"ruled_out,omitempty"`
	Cost     float64 `json:"cost"`
	Terms    []Term  `json:"terms,omitempty"`
}

// Explanation is a decision with all its reasons. To is "" when every host is
// ruled out.
type Explanation struct {
	Guest      string      `json:"guest"`
	From       string      `json:"from,omitempty"`
	To         string      `json:"to,omitempty"`
	Why        string      `json:"why"`
	Candidates []Candidate `json:"candidates"`
	// Terms that concern the guest and no single host (retries, waiting).
	Terms []Term `json:"terms,omitempty"`
}

// Choose picks a destination for g.
func Choose(g Guest, hosts []Host) Explanation {
	e := Explanation{Guest: g.Name, From: g.From}
	for _, h := range hosts {
		c := Candidate{Host: h.Name, RuledOut: ruledOut(g, h)}
		if c.RuledOut == "" {
			c.Terms = terms(g, h)
			for _, t := range c.Terms {
				c.Cost += t.Value
			}
		}
		e.Candidates = append(e.Candidates, c)
	}
	slices.SortFunc(e.Candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(btoi(a.RuledOut != ""), btoi(b.RuledOut != "")), cmp.Compare(a.Cost, b.Cost), cmp.Compare(a.Host, b.Host))
	})
	if len(e.Candidates) == 0 || e.Candidates[0].RuledOut != "" {
		e.Why = "no host can take guest " + g.Name + reasons(e.Candidates)
		return e
	}
	e.To = e.Candidates[0].Host
	e.Why = fmt.Sprintf("host %s has the lowest cost, %.1f", e.To, e.Candidates[0].Cost)
	return e
}

func ruledOut(g Guest, h Host) string {
	switch {
	case h.Name == g.From:
		return "the guest is there"
	case !h.Server:
		return "runs no guests"
	case g.From == "" && g.DiskHost != "" && g.DiskHost != h.Name:
		return "what the guest wrote to its local disk is on host " + g.DiskHost + " only"
	case !h.InService:
		return "out of service"
	case !h.Contact:
		return "no fresh contact"
	case g.Group != "" && slices.Contains(h.Groups, g.Group):
		return "a partner of redundancy group " + g.Group + " is there"
	case h.MemoryMiB > 0 && h.FreeMiB < g.MemoryMiB:
		return fmt.Sprintf("%d MiB free, %d MiB needed", h.FreeMiB, g.MemoryMiB)
	}
	return ""
}

func terms(g Guest, h Host) []Term {
	list := []Term{{Name: "guests", Value: costPerGuest * float64(h.Guests), Why: fmt.Sprintf("%d there already", h.Guests)}}
	if h.MemoryMiB > 0 {
		used := float64(h.MemoryMiB-h.FreeMiB+g.MemoryMiB) / float64(h.MemoryMiB)
		list = append(list, Term{Name: "memory", Value: costMemoryFull * used, Why: fmt.Sprintf("%.0f %% used with this guest", 100*used)})
	}
	if g.Preferred != "" && g.Preferred != h.Name {
		list = append(list, Term{Name: "preference", Value: costNotPreferred, Why: "the site file prefers host " + g.Preferred})
	}
	if h.RecentDepartures > 0 {
		list = append(list, Term{Name: "ping-pong", Value: costRecentMove * float64(h.RecentDepartures), Why: fmt.Sprintf("left it %d times lately", h.RecentDepartures)})
	}
	return list
}

func reasons(list []Candidate) string {
	text := ""
	for i, c := range list {
		text += map[bool]string{true: ": ", false: "; "}[i == 0] + c.Host + ": " + c.RuledOut
	}
	return text
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
