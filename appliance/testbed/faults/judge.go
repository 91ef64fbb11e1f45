package main

import (
	"fmt"
	"strings"
)

// stopMs is how long the guest was stopped, at most, by those who can tell.
func (r Row) stopMs() float64 { return max(r.StopMs, r.QEMUStopMs) }

// overrun: of the budget, by the stop or by what the bus heard. Whoever listens to the
// guest does not care why it is silent.
func (r Row) overrun() bool { return max(r.stopMs(), r.BlackoutMs) > float64(r.BudgetMs) }

// judge holds a switchover to the promises.
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
		why := fmt.Sprintf("stopped for %.0f ms, not heard for %.0f ms, the budget is %d ms", r.stopMs(), r.BlackoutMs, r.BudgetMs)
		if r.Unanswered && r.Struck && strings.HasPrefix(r.Fault, onTheLink) {
			r.Exception = "COMMIT was sent and no RUNNING came back: " + why
		} else {
			broken("%s", why)
		}
	}
}
