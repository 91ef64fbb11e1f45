// Command bench measures every way to move a guest, one after the other, on real
// QEMU guests: QEMU's own migration modes and ours, over the same shaped link,
// with the same downtime budget.
//
//	load    what the guest does to its memory meanwhile (cases.go)
//	link    one LAN between two hosts, shaped in both directions; bytes are
//	        counted at its ports
//	method  qemu-…, or the name of one of our policies; qemu-relaxed… (relaxed.go)
//	        is given the pause that one of ours showed just before
//
// It writes migrate.json (one Row for each run) after every run, and at the end
// migrate.html and a table of medians with the goals. Everything that takes
// longer than a minute has not converged.
//
// With -record it keeps a trace of each load instead (record.go).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bumpless/appliance/testbed"
)

type options struct {
	record        string // folder for traces; "": measure
	selection     selection
	runs          int
	quick, resume bool
}

func main() {
	testbed.Enter()
	o := options{}
	tool := testbed.NewTool("out/bench", "migrate.json and migrate.html")
	flag.BoolVar(&o.quick, "quick", false, "a part that takes less than ten minutes, one run each")
	flag.BoolVar(&o.resume, "resume", false, "keep the rows of an earlier bench, and run what is missing")
	flag.IntVar(&o.runs, "runs", 3, "runs of each method")
	only := flag.String("only", "", "LOADS/LINKS/METHODS, each a list with commas or empty: idle,mix/1G/bumpless")
	flag.StringVar(&o.record, "record", "", "measure nothing: record a trace of each load's guest into this `folder`, for migrate/replay")
	flag.Parse()
	if o.quick {
		o.selection, o.runs = quick, 1
	}
	var err error
	if o.selection, err = o.selection.only(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	tool.Main("bench", func(ctx context.Context, dir string) error { return run(ctx, o, tool, dir) })
}

func run(ctx context.Context, o options, t *testbed.Tool, dir string) error {
	g, err := newRig(dir, t.Binary, t.Cache)
	if err != nil {
		return err
	}
	if o.record != "" {
		return errors.Join(g.record(ctx, o.selection, o.record), g.close())
	}
	return errors.Join(g.bench(ctx, o, t.Out), g.close())
}

// bench measures what is planned and shows it.
func (g *rig) bench(ctx context.Context, o options, out string) error {
	r, err := openResults(out, o.resume)
	if err != nil {
		return err
	}
	defer r.Close()
	ended := g.all(ctx, plan(o.selection, o.runs, o.quick), r)
	if len(r.Rows) == 0 {
		return ended
	}
	// What was measured is shown even if the bench was interrupted.
	if err := writePage(out, r.Rows); err != nil {
		return errors.Join(ended, err)
	}
	print(os.Stdout, r.Rows)
	fmt.Printf("\nThe rows are in %s, the plots in %s.\n", r.Path(), filepath.Join(out, pageName))
	return ended
}

// all carries out the trials.
func (g *rig) all(ctx context.Context, trials []trial, r results) error {
	began := time.Now()
	for i, t := range trials {
		if r.has(t) {
			continue
		}
		if err := g.prepare(ctx, t); err != nil {
			return err
		}
		row, err := g.measure(ctx, t, r.Rows)
		if ctx.Err() != nil {
			return context.Cause(ctx) // what was interrupted is no result
		}
		if err != nil {
			// A guest in an unknown state is of no use for the next run.
			if down := g.ShutDown(ctx); down != nil {
				return errors.Join(err, down)
			}
		}
		if err := r.Add(row); err != nil {
			return err
		}
		fmt.Printf("%4.0f s  %d/%d  %s: %s\n", time.Since(began).Seconds(), i+1, len(trials), t, row.line())
	}
	return nil
}

// prepare boots the load's guest and sets the link, unless they are there.
func (g *rig) prepare(ctx context.Context, t trial) error {
	if g.At == "" || g.load.name != t.load.name {
		if err := g.boot(ctx, t.load); err != nil {
			return err
		}
	}
	if g.bytesPerS > 0 && g.cable == t.cable {
		return nil
	}
	return g.setLink(t.cable)
}

// line says how a run went, for the terminal.
func (r Row) line() string {
	s := fmt.Sprintf("%s in %.2f s, blackout %.0f ms, stop %.0f ms, %.1f MB (limit %.1f), gateways %.1f s CPU", r.Outcome, r.TotalS, r.BlackoutMs, r.StopMs,
		float64(r.LinkBytes)/1e6, float64(r.LimitBytes)/1e6, r.GatewayCPUS)
	if r.Passes > 0 {
		s += fmt.Sprintf(", first pass %.2f s of %d", r.FirstPassS, r.Passes)
	}
	if r.CorruptPages > 0 {
		s += fmt.Sprintf(", %d CORRUPT PAGES", r.CorruptPages)
	}
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	return s
}
