// Package policy decides, during a move, which pages cross the link and when
// the guest is stopped. It is pure: pages, rates and times come in as values.
//
// For each page that the source sends (again), Hold says whether it waits; a
// held page's newest content overwrites the older one in place. At the start of
// each pass Release lets go what has been quiet. After each pass Decide weighs
// the pause that a switchover would cost now, from the pages that are actually
// held, against the guest's budget:
//
//	Wait    the estimate is still falling, or pages have not been sent once
//	Switch  the estimate is within the budget: stop the guest
//	Refuse  it will not come within the budget; Reason says what would help
package policy

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Traits are what the mechanism does for a policy.
type Traits struct {
	Compress      bool // pages and device state are compressed in batches
	DropUnchanged bool // a page whose content equals what was last sent is not sent
	// ReadAhead: where contents can be read when they are sent, and the first pass is
	// not InOrder, the guest's memory is looked through while that is being sent, and
	// what is written again meanwhile is held or not as after it.
	ReadAhead bool
	// QuietestFirst: what is released waits until the link has nothing else to do, and
	// leaves by UntilWrite, the longest first; what is written meanwhile does not.
	QuietestFirst bool
}

// Situation is what Decide weighs, after a pass.
type Situation struct {
	Now         time.Duration // since the move began
	Pass        uint32        // that just ended
	AllSentOnce bool          // every page has been sent, or is zero, and the destination has answered since

	PendingBytes  int64         // content of held and queued pages, uncompressed
	ArrivedBytes  int64         // pages that the last pass brought
	Dirtying      time.Duration // in which the guest had dirtied those
	FreshBytes    int64         // pages that a last look would bring, beside those pending: see Brought
	InFlightBytes int64         // written to sockets, not yet acknowledged
	// Ratio that the pending and fresh pages are expected to compress to. A
	// ratio of all that was sent would be too good: what a guest keeps writing
	// compresses less than what it has lying about.
	Ratio         float64
	LinkBytesPerS float64       // 0: not measured yet
	Lag           time.Duration // until the destination has what is sent now; what is in flight is a part of it
	Fixed         time.Duration // cost of a switchover without pages
	Regions       int           // contiguous runs of pending pages

	// Of the budget, Margin is kept for a roll-back, and Waking until the guest is
	// heard where it runs then (see type Waking).
	Budget, Margin, Waking time.Duration
}

// Estimate is the pause that a switchover would cost now: what is pending, what
// a last look will bring, what is in flight, what the destination is behind, and
// the fixed cost.
func (s Situation) Estimate() time.Duration {
	if s.LinkBytesPerS <= 0 {
		return time.Hour // nothing was measured: as good as never
	}
	// The conversion forbids a fused multiply-add: the same figures everywhere.
	bytes := float64(float64(s.PendingBytes+s.FreshBytes)*s.Ratio) + float64(s.InFlightBytes)
	inFlight := time.Duration(float64(s.InFlightBytes) / s.LinkBytesPerS * float64(time.Second))
	return s.Fixed + time.Duration(bytes/s.LinkBytesPerS*float64(time.Second)) + max(0, s.Lag-inFlight)
}

// floor is the pause if nothing were pending but what one pass dirties.
func (s Situation) floor() time.Duration {
	s.PendingBytes, s.FreshBytes, s.InFlightBytes = s.ArrivedBytes, 0, 0
	return s.Estimate()
}

// ready: there is something to decide on. A link that nobody has measured yet
// is no reason to refuse.
func (s Situation) ready() bool { return s.AllSentOnce && s.LinkBytesPerS > 0 }

// Limit is the longest estimate that may be tried.
func (s Situation) Limit() time.Duration { return s.Budget - s.Margin - s.Waking }

// Verdict of Decide.
type Verdict int

// Verdicts.
const (
	Wait Verdict = iota
	Switch
	Refuse
)

// Decision after a pass.
type Decision struct {
	Verdict  Verdict
	Estimate time.Duration
	Reason   string // of a refusal: what would help
}

// Policy is one algorithm. A value serves one move and is not safe for
// concurrent use.
type Policy interface {
	Name() string
	Traits() Traits
	// Hold says whether a page that arrived waits; p knows of the arrival.
	Hold(p Page, m Moment) bool
	// Release says, at the start of a pass, whether a held page is sent now, or, with
	// Traits.QuietestFirst, may be in this pass.
	Release(p Page, m Moment) bool
	Decide(s Situation) Decision
}

var makers = map[string]func() Policy{
	"precopy":        func() Policy { return &precopy{} },
	"layered":        func() Policy { return &layered{} },
	"delayed":        func() Policy { return &delayed{} },
	"ar":             func() Policy { return &ar{} },
	"memory-pattern": func() Policy { return &memoryPattern{} },
	"bumpless":       func() Policy { return &bumpless{} },
}

// New returns a policy by its name.
func New(name string) (Policy, error) {
	make, ok := makers[name]
	if !ok {
		return nil, fmt.Errorf("no policy %q: there are %v", name, Names())
	}
	return make(), nil
}

// Names of all policies, sorted.
func Names() []string {
	var names []string
	for n := range makers {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// refusal says what would bring the estimate within the budget.
func refusal(s Situation, estimate time.Duration) string {
	moving := estimate - s.Fixed
	room := s.Limit() - s.Fixed
	need := fmt.Sprintf("a budget of %d ms", (estimate+s.Margin+s.Waking+time.Millisecond-1)/time.Millisecond)
	if room > 0 {
		// Rounded up: what is asked for must be enough.
		need = fmt.Sprintf("%.1fx the link, or %s", math.Ceil(10*float64(moving)/float64(room))/10, need)
	}
	kept := fmt.Sprintf("%d ms margin", s.Margin.Milliseconds())
	if s.Waking > 0 {
		kept += fmt.Sprintf(" and %d ms until the guest is heard", s.Waking.Milliseconds())
	}
	return fmt.Sprintf("estimate %d ms, budget %d ms less %s: needs %s; hot set %.1f MB in %d regions",
		estimate.Milliseconds(), s.Budget.Milliseconds(), kept, need,
		float64(s.PendingBytes+s.FreshBytes)/1e6, s.Regions)
}
