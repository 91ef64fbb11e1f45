package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the medians, with their spread, and how they stand to the goals.
func print(to io.Writer, rows []Row) {
	all := compare(rows)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	line("\nload\tlink\tbudget\tmethod\tQEMU's limit, ms\tmoved\tpreparation, s\ttotal, s\tblackout, ms\tstop, ms\tlink, MB\tlimit, MB\tlimit, s\tCPUs' limit, s\tguest's share of a core, %%\tsource CPU, s\tgateways CPU, s\tothers CPU, s\tpeak, MB\tcorrupt")
	for _, c := range all {
		for _, m := range c.methods {
			line("%s\t%s\t%d\t%s\t%s\t%s\t%.2f\t%s\t%s\t%s\t%s\t%.1f\t%.2f\t%s\t%s\t%.1f\t%.1f\t%.1f\t%.0f\t%d", c.load, linkName(c.linkBitsPerS, c.rttMs), c.budgetMs, m.method, c.limitText(m), m.success(),
				m.preparation.median, m.total.text("%.2f", 1), m.blackout.text("%.0f", 1), m.stop.text("%.0f", 1), m.linkBytes.text("%.1f", 1e-6),
				m.limitBytes.median/1e6, m.limitS.median, m.busyText(), m.guestShare.text("%.0f", 100), m.sourceCPU.median, m.gatewayCPU.median, m.othersCPU.median, m.gatewayPeak.median/1e6, m.corrupt)
		}
	}
	line("\nload\tlink\tbudget\tgoal (of %s)\tours\tQEMU's best, or relaxed\tratio\twanted\tverdict", defaultPolicy)
	for _, g := range judge(all) {
		line("%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s", g.load, linkName(g.linkBitsPerS, g.rttMs), g.budgetMs, g.figure, g.ours, g.against, ratioText(g.ratio), g.wanted, g.verdict)
	}
	t := count(rows)
	line("\nour budgets: %d overruns in %d switchovers, by the stop or the blackout; corrupt pages: %d of ours, %d of QEMU's own", t.overruns, t.switchovers, t.corrupt, t.nativeCorrupt)
	_ = w.Flush() // to a terminal; nobody is left to tell
}

func ratioText(r float64) string {
	if r == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", r)
}

// busyText is the limit by CPU time: of ours, since QEMU's methods neither seal nor prove.
func (s summary) busyText() string {
	if isNative(s.method) {
		return "-"
	}
	return s.busy.text("%.2f", 1)
}

// limitText is QEMU's downtime-limit; ours have none.
func (c comparison) limitText(m summary) string {
	if _, relaxed := relaxationOf(m.method); isNative(m.method) && !relaxed {
		return fmt.Sprint(c.budgetMs)
	}
	return m.downtimeLimit.text("%.0f", 1)
}

// success is how many runs moved the guest, and what became of the others.
func (s summary) success() string {
	if s.allMoved() {
		return fmt.Sprintf("%d/%d", s.moved, len(s.runs))
	}
	return fmt.Sprintf("%d/%d, %s (%.1f s)", s.moved, len(s.runs), s.outcome(), s.tried.median)
}

// text of a spread: the median, and the extremes when there is more than one run.
func (s spread) text(format string, unit float64) string {
	switch s.n {
	case 0:
		return "-"
	case 1:
		return fmt.Sprintf(format, s.median*unit)
	}
	return fmt.Sprintf(format+" ["+format+"-"+format+"]", s.median*unit, s.min*unit, s.max*unit)
}
