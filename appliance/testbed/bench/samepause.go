package main

import "fmt"

// Ratios that are wanted of a policy's medians against QEMU relaxed to its pause:
// 22 % less time and 19 % less data, the goal against the published algorithms.
const (
	timeToRelaxed  = 0.78
	bytesToRelaxed = 0.81
)

// qemuDowntimeLimitMs is QEMU's default (DEFAULT_MIGRATE_SET_DOWNTIME in
// migration/options.c).
const qemuDowntimeLimitMs = 300

// published weighs what the published algorithms claim, of each policy that QEMU
// is relaxed to: guests are moved that QEMU as it comes does not move, and what is
// moved takes less time and bytes than QEMU that may stop it for as long.
func (c comparison) published(all []comparison) (goals []goal) {
	for _, x := range relaxations {
		ours, ok := c.method(x.policy)
		if !ok {
			continue
		}
		if g, ok := c.intensive(ours, all); ok {
			goals = append(goals, g)
		}
		if relaxed, ok := c.method(x.method); ok && ours.moved > 0 {
			goals = append(goals,
				c.samePause(ours, relaxed, "total time", "%.2f s", 1, timeToRelaxed, func(s summary) spread { return s.total }),
				c.samePause(ours, relaxed, "bytes", "%.1f MB", 1e-6, bytesToRelaxed, func(s summary) spread { return s.linkBytes }))
		}
	}
	return goals
}

// intensive: a guest that QEMU with its default limit moves in no run over this
// link has to be moved in every run, unless its hot set does not cross the link
// within the budget.
func (c comparison) intensive(ours summary, all []comparison) (goal, bool) {
	asItComes, ok := qemuAsItComes(c.scene, all)
	if !ok || asItComes.moved > 0 {
		return goal{}, false
	}
	g := goal{scene: c.scene, figure: ours.method + " where QEMU's default moves none", ours: fmt.Sprintf("%d of %d moved", ours.moved, len(ours.runs)),
		against: fmt.Sprintf("%d of %d, limit %d ms", asItComes.moved, len(asItComes.runs), qemuDowntimeLimitMs), wanted: "all that fit move"}
	fits, _ := c.fits()
	switch {
	case ours.allMoved():
		g.verdict = met
	case fits:
		g.verdict = missed
	default:
		g.verdict, g.wanted = beyond, "all that fit move; it does not fit"
	}
	return g, true
}

// qemuAsItComes is QEMU's default method with its default limit, for the load and
// link of a scene with any budget.
func qemuAsItComes(s scene, all []comparison) (summary, bool) {
	s.budgetMs = qemuDowntimeLimitMs
	for _, c := range all {
		if c.scene == s {
			return c.method(qemuDefault)
		}
	}
	return summary{}, false
}

// samePause compares a policy's figure with that of QEMU relaxed to its pause. A
// QEMU that needed a longer one in every run is a rival only as far as it is
// beaten all the same: a figure that it has better it has for the longer stop.
func (c comparison) samePause(ours, relaxed summary, figure, format string, unit, wanted float64, of func(summary) spread) goal {
	g := goal{scene: c.scene, figure: fmt.Sprintf("%s of %s, same pause", figure, ours.method), ours: fmt.Sprintf(format+", stop %.0f ms", of(ours).median*unit, ours.stop.median),
		against: fmt.Sprintf("%s: %s", relaxed.method, relaxed.outcome()), wanted: fmt.Sprintf("<= %.2f x", wanted), verdict: noRival}
	if relaxed.moved == 0 {
		return g
	}
	g.against = fmt.Sprintf(format+" %s, limit %.0f ms, stop %.0f ms", of(relaxed).median*unit, relaxed.method, relaxed.downtimeLimit.median, relaxed.stop.median)
	g.ratio = ratio(of(ours).median, of(relaxed).median)
	g.verdict = verdictOf(g.ratio <= wanted)
	if relaxed.tries.min > 1 {
		g.against += ", none at the same"
		if g.verdict == missed {
			g.verdict = noRival
		}
	}
	return g
}
