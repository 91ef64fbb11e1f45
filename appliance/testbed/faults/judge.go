package main

import (
	"fmt"
	"strings"
)

// stopMs is how long the guest was stopped, at most, by those who can tell.
func (r Row) stopMs() float64 { return max(r.StopMs, r.QEMUStopMs) }

func (r Row) overrun() bool { return r.stopMs() > float64(r.BudgetMs) }

// judge holds a switchover to the promises. The budget is that of the stop. Where
// the guest is seen later than it runs, it is said apart: QEMU translates its
// code anew, or its CPU was taken, and no gateway can help that.
func (r *Row) judge() {
	broken := func(format string, a ...any) { r.Violations = append(r.Violations, fmt.Sprintf(format, a...)) }
	if r.Copies != 1 {
		broken("%d copies ran at the same moment", r.Copies)
	}
	if r.CorruptPages > 0 || r.CorruptBlocks > 0 {
		broken("%d pages and %d blocks are corrupt", r.CorruptPages, r.CorruptBlocks)
	}
	at := r.From
	if r.RunsAt == destination {
		at = other(r.From)
	}
	if r.LockedAt != at {
		broken("the disk is locked at %q, the guest runs on %s", r.LockedAt, at)
	}
	if r.overrun() {
		why := fmt.Sprintf("stopped for %.0f ms, the budget is %d ms", r.stopMs(), r.BudgetMs)
		if r.Unanswered && r.Struck && strings.HasPrefix(r.Fault, onTheLink) {
			r.Exception = "COMMIT was sent and no RUNNING came back: " + why
		} else {
			broken("%s", why)
		}
		return
	}
	if r.BlackoutMs > float64(r.BudgetMs) {
		r.Late = fmt.Sprintf("QEMU ran again after %.0f ms; %.0f ms more until the guest was heard, by itself", r.stopMs(), r.BlackoutMs-r.stopMs())
	}
}
