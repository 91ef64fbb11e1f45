package main

import (
	"errors"
	"fmt"
)

// judge says which promises were broken, all of them.
func (r Result) judge() error {
	var broken []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			broken = append(broken, fmt.Errorf(format, args...))
		}
	}
	for _, step := range []struct{ reason, outcome string }{{"drain", "moved"}, {"stalled link", "rolled-back"}} {
		last := ""
		for _, m := range r.Moves {
			if m.Reason == step.reason {
				last = m.Outcome
			}
		}
		must(last == step.outcome, "the move for the reason %q ended %q; want %q", step.reason, last, step.outcome)
	}
	for i, m := range r.Moves {
		must(m.BlackoutMs <= float64(m.BudgetMs), "move %d: a blackout of %.1f ms; the budget is %d ms", i+1, m.BlackoutMs, m.BudgetMs)
		must(m.StopMs <= float64(m.BudgetMs), "move %d: stopped for %.1f ms; the budget is %d ms", i+1, m.StopMs, m.BudgetMs)
		must(m.CorruptPages == 0, "move %d: %d corrupt pages", i+1, m.CorruptPages)
		must(m.Outcome != "moved" || m.DigestEqual, "move %d: the digests differ", i+1)
	}
	must(len(r.Failovers) == 1, "%d failovers; want 1", len(r.Failovers))
	for _, f := range r.Failovers {
		must(f.CopiesMax == 1, "failover: %d copies of guest %s at the same moment; want 1", f.CopiesMax, f.Guest)
		must(f.RestoredS <= f.BoundS, "failover: restored after %.1f s; the bound is %.1f s", f.RestoredS, f.BoundS)
	}
	return errors.Join(broken...)
}
