package main

import (
	"strings"
	"testing"
)

func TestAJudgementNamesWhatIsBroken(t *testing.T) {
	good := Row{Fault: "link-cut", Phase: "drain", Struck: true, From: "src", Outcome: "rolled-back", RunsAt: source, LockedAt: "src",
		StopMs: 275, QEMUStopMs: 274, BlackoutMs: 280, BudgetMs: 300, Copies: 1}
	for _, c := range []struct {
		name                 string
		change               func(r *Row)
		violation, exception string // "": none
	}{
		{"good", func(r *Row) {}, "", ""},
		{"two copies", func(r *Row) { r.Copies = 2 }, "2 copies", ""},
		{"no copy", func(r *Row) { r.Copies = 0 }, "0 copies", ""},
		{"a corrupt page", func(r *Row) { r.CorruptPages = 1 }, "1 pages", ""},
		{"a corrupt block", func(r *Row) { r.CorruptBlocks = 1 }, "1 blocks", ""},
		{"moved, locked at the source", func(r *Row) { r.RunsAt = destination }, "runs on dst", ""},
		{"a stranger has the lock", func(r *Row) { r.LockedAt = "others" }, `"others"`, ""},
		{"the gateway took too long", func(r *Row) { r.StopMs = 301 }, "301 ms", ""},
		{"the gateway died, and the guest was stopped too long", func(r *Row) { r.Outcome, r.StopMs, r.QEMUStopMs = noWord, 0, 400 }, "400 ms", ""},
		{"committed and not answered", func(r *Row) { r.Outcome, r.Committed, r.Unanswered, r.QEMUStopMs = noWord, true, true, 400 }, "",
			"COMMIT was sent and no RUNNING came back: stopped for 400 ms"},
		{"committed and not answered, with the link whole", func(r *Row) {
			r.Fault, r.Outcome, r.Committed, r.Unanswered, r.QEMUStopMs = "cont-refused", noWord, true, true, 307
		}, "307 ms", ""},
		{"committed and not answered, without a fault", func(r *Row) {
			r.Outcome, r.Committed, r.Unanswered, r.QEMUStopMs, r.Struck = "in-doubt", true, true, 400, false
		}, "400 ms", ""},
		{"committed, and answered late by the daemon", func(r *Row) { r.Outcome, r.Committed, r.QEMUStopMs = noWord, true, 400 }, "400 ms", ""},
		{"moved late", func(r *Row) {
			r.Outcome, r.Committed, r.StopMs, r.RunsAt, r.LockedAt = "moved", true, 400, destination, "dst"
		}, "400 ms", ""},
		{"heard late", func(r *Row) { r.BlackoutMs = 420 }, "not heard for 420 ms", ""},
	} {
		r := good
		c.change(&r)
		r.judge()
		for what, pair := range map[string][2]string{
			"violations": {strings.Join(r.Violations, "; "), c.violation}, "exception": {r.Exception, c.exception}} {
			if got, want := pair[0], pair[1]; (got == "") != (want == "") || !strings.Contains(got, want) {
				t.Errorf("%s: %s = %q; want %q in it", c.name, what, got, want)
			}
		}
	}
}
