package main

import (
	"fmt"
	"strings"

	"bumpless/appliance/testbed/protection"
)

// goal is one figure of the default policy against what is wanted of it.
type goal struct {
	scene
	figure  string
	ours    string
	against string // what it is compared with
	ratio   float64
	wanted  string
	verdict verdict
}

type verdict string

const (
	met     verdict = "met"
	missed  verdict = "missed"
	noRival verdict = "no rival" // QEMU moved this guest by none of its methods, or not with this pause
	// beyond: what is wanted is less than the link allows, or the CPUs beside the guest, or a
	// guest that writes or wakes.
	beyond verdict = "out of reach"
)

func verdictOf(ok bool) verdict {
	if ok {
		return met
	}
	return missed
}

// Ratios that are wanted of the default policy's medians.
const (
	bytesToBest    = 0.75
	bytesToLimit   = 1.25
	timeToBestSlow = 0.75 // at 200 Mbit/s
	timeToBestFast = 1.0  // at 1 Gbit/s, and at half of it
	blackoutToBest = 0.5
	idleStopMs     = 25 // at 1 Gbit/s
	refusalPasses  = 2  // first passes within which a refusal has to come
)

// judge weighs the default policy in every scene that has it, and after it what the
// published algorithms are held to.
func judge(all []comparison) []goal {
	var goals []goal
	for _, c := range all {
		if ours, ok := c.method(defaultPolicy); ok {
			goals = append(goals, c.success(ours))
			if ours.moved > 0 {
				goals = append(goals, c.figures(ours)...)
			}
		}
		goals = append(goals, c.published(all)...)
	}
	return goals
}

func isNative(method string) bool { return strings.HasPrefix(method, nativePrefix) }

// success: a guest whose hot set fits moves in every run; any other is refused
// within two first passes. It fits if its hot set alone, uncompressed, crosses
// the link within the budget, or if any method moved it within the budget; of a
// load of programs only the latter can be known.
func (c comparison) success(ours summary) goal {
	g := goal{scene: c.scene, figure: "success", ours: fmt.Sprintf("%d of %d moved", ours.moved, len(ours.runs)), wanted: "moves, or is refused in 2 first passes"}
	switch fits, why := c.fits(); {
	case ours.allMoved():
		g.verdict = met
	case fits:
		g.verdict, g.against = missed, "it fits: "+why
	default:
		g.verdict, g.against = met, "it does not fit"
		for _, r := range ours.runs {
			if r.Outcome == moved {
				continue
			}
			if r.Outcome != "refused" || r.FirstPassS == 0 || r.TotalS > refusalPasses*r.FirstPassS {
				g.verdict = missed
			}
			if passes := r.TotalS / max(r.FirstPassS, 1e-9); r.FirstPassS == 0 || passes > g.ratio {
				g.ours = fmt.Sprintf("%s after %.1f s, first pass %.1f s", r.Outcome, r.TotalS, r.FirstPassS)
				if r.FirstPassS > 0 {
					g.ratio = passes
				}
			}
		}
	}
	return g
}

func (c comparison) fits() (bool, string) {
	for _, m := range c.methods {
		if m.allMoved() && m.stop.max <= float64(c.budgetMs) {
			return true, fmt.Sprintf("%s stopped it for %.0f ms", m.method, m.stop.max)
		}
	}
	for _, l := range loads {
		if l.name == c.load && l.hotMiB != hotUnknown && (c.linkBitsPerS == 0 || float64(l.hotMiB<<20*8)/float64(c.linkBitsPerS)*1000 <= float64(c.budgetMs)) {
			return true, fmt.Sprintf("a hot set of %d MiB", l.hotMiB)
		}
	}
	return false, ""
}

func (c comparison) figures(ours summary) []goal {
	goals := []goal{
		c.toBest(ours, "bytes", "%.1f MB", 1e-6, bytesToBest, ours.limitBytes, func(s summary) spread { return s.linkBytes }),
		c.toLimit(ours),
	}
	total := func(s summary) spread { return s.total }
	switch c.linkBitsPerS {
	case 200e6:
		goals = append(goals, c.toBest(ours, "total time", "%.2f s", 1, timeToBestSlow, ours.shortest(), total))
	case 1e9, 500e6:
		goals = append(goals, c.toBest(ours, "total time", "%.2f s", 1, timeToBestFast, ours.shortest(), total))
	}
	darkest := c.waking()
	darkest.median += c.unsent(ours)
	goals = append(goals, c.toBest(ours, "blackout", "%.0f ms", 1, blackoutToBest, darkest, func(s summary) spread { return s.blackout }))
	if c.load == "idle" && c.linkBitsPerS == 1e9 && c.rttMs == 0 { // a commit takes two round trips
		goals = append(goals, goal{scene: c.scene, figure: "stop", ours: fmt.Sprintf("%.0f ms", ours.stop.median), wanted: fmt.Sprintf("<= %d ms", idleStopMs),
			verdict: verdictOf(ours.stop.median <= idleStopMs)})
	}
	return goals
}

// waking is the least that any method's blackout had behind its stop, in ms: the guest
// runs at its destination, and the emulator translates its code anew until it gets a
// frame out. Of a blackout it is the limit, with a stop of no time.
func (c comparison) waking() (least spread) {
	for _, m := range c.methods {
		if m.moved > 0 && (least.n == 0 || m.waking.median < least.median) {
			least = m.waking
		}
	}
	return least
}

// unsent is what a stop takes at least, in ms, beside a guest that writes pages in turn,
// whole and with what does not compress: all of them within one round, so that no more
// of them can be at the destination as they are than the link carries in a round.
func (c comparison) unsent(ours summary) (ms float64) {
	if ours.limitS.median == 0 {
		return 0
	}
	bytesPerS := ours.limitBytes.median / ours.limitS.median
	for _, l := range loads {
		for _, r := range l.regions {
			if l.name == c.load && r.WriteBytes == protection.PageSize {
				bytes := float64(r.MiB << 20)
				round := bytes / protection.PageSize / float64(r.PagesPerS)
				ms += max(0, bytes/bytesPerS-round) * 1000
			}
		}
	}
	return ms
}

// toBest compares a figure with the best of all of QEMU's methods, each figure
// with another method if need be: that is the harder test. QEMU relaxed has
// another limit than the budget, and goals of its own. limit is the least that is
// possible.
func (c comparison) toBest(ours summary, figure, format string, unit, wanted float64, limit spread, of func(summary) spread) goal {
	g := goal{scene: c.scene, figure: figure, ours: fmt.Sprintf(format, of(ours).median*unit), wanted: fmt.Sprintf("<= %.2f x", wanted), verdict: noRival}
	var best *summary
	for i, m := range c.methods {
		_, another := relaxationOf(m.method)
		if isNative(m.method) && !another && m.moved > 0 && (best == nil || of(m).median < of(*best).median) {
			best = &c.methods[i]
		}
	}
	if best == nil {
		return g
	}
	g.against = fmt.Sprintf(format+" %s", of(*best).median*unit, best.method)
	g.ratio = ratio(of(ours).median, of(*best).median)
	g.verdict = verdictOf(g.ratio <= wanted)
	if g.verdict == missed && wanted*of(*best).median < limit.median {
		g.verdict = beyond
		g.wanted += fmt.Sprintf(", "+format+"; the limit is "+format, wanted*of(*best).median*unit, limit.median*unit)
	}
	return g
}

// ratio of two figures that are not negative; a rival without any is infinitely
// good unless ours is the same.
func ratio(ours, best float64) float64 {
	if ours == best {
		return 1
	}
	return ours / max(best, 1e-9)
}

func (c comparison) toLimit(ours summary) goal {
	g := goal{scene: c.scene, figure: "bytes to the limit", ours: fmt.Sprintf("%.1f MB", ours.linkBytes.median/1e6),
		against: fmt.Sprintf("%.1f MB limit", ours.limitBytes.median/1e6), wanted: fmt.Sprintf("<= %.2f x", bytesToLimit)}
	g.ratio = ratio(ours.linkBytes.median, ours.limitBytes.median)
	g.verdict = verdictOf(g.ratio <= bytesToLimit)
	return g
}

// totals over all rows: budgets overrun, pages corrupted.
type totals struct {
	switchovers, overruns int // of ours, by the hypervisor's stop or the bus' blackout
	corrupt               uint64
	nativeCorrupt         uint64
}

func count(rows []Row) (t totals) {
	for _, r := range rows {
		if isNative(r.Method) {
			t.nativeCorrupt += r.CorruptPages
			continue
		}
		t.corrupt += r.CorruptPages
		if r.StopMs > 0 {
			t.switchovers++
		}
		if r.StopMs > 0 && max(r.StopMs, r.BlackoutMs) > float64(r.BudgetMs) {
			t.overruns++
		}
	}
	return t
}
