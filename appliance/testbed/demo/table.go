package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the one table at the end.
func (r Result) print(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	row("")
	row("what\tguest\tfrom\tto\toutcome\tblackout\tbudget\tstopped\testimate\ttotal\tlink\tRAM\tcorrupt pages")
	for _, m := range r.Moves {
		row("%s\t%s\t%s\t%s\t%s\t%.1f ms\t%d ms\t%.1f ms\t%.1f ms\t%.2f s\t%.1f MB\t%.1f MB\t%d", m.Reason, m.Guest, m.From, m.To, m.Outcome,
			m.BlackoutMs, m.BudgetMs, m.StopMs, m.EstimateMs, m.TotalS, float64(m.LinkBytes)/1e6, float64(m.RAMBytes)/1e6, m.CorruptPages)
	}
	for _, f := range r.Failovers {
		row("%s cut\t%s\t%s\t%s\trestored\t%.1f s\t%.1f s bound\t\t\t\t\t\t%d copy at most", f.Cause, f.Guest, f.From, f.To, f.RestoredS, f.BoundS, f.CopiesMax)
	}
	row("GOOSE\t\t\t\t%d frames\t%.1f ms largest gap\t%.0f ms period", r.Goose.Frames, r.Goose.MaxGapMs, r.Goose.PeriodMs)
	_ = w.Flush() // to a terminal; nobody is left to tell
}
