// Command faults proves the hard budget: it moves one real guest back and forth
// between two hosts without daemons, lets something go wrong in every second move,
// and looks after each at what was promised.
//
//	fault x phase   drawn in turn from a matrix that the seed shuffles (matrix.go)
//	afterwards      the guest runs in exactly one place (QMP of every copy; senders
//	                on the bus), it was not booted again, its memory and its disk
//	                verify, its disk is locked by its copy and by nobody else
//	budget          the stop, by the gateway's own word and the QEMUs' events STOP and
//	                RESUME; and the blackout, by the observer on the bus
//
// The harness plays the two daemons, the line between them over the LANs, and the
// log, and uses their gateway.Guard and gateway.Arrival. A move that is in doubt
// (COMMIT was sent and no RUNNING came back, to the gateway or to the daemon) goes
// the way of the log: a destination that runs keeps the guest, one that has loaded
// it and can run it does, any other is killed first. Only such a move, of which the
// link was struck, may overrun its budget; it is listed as an exception. The log
// itself takes no time here.
//
// It writes faults.json (one Row for each switchover) after every switchover, and
// at the end a table. The status is 1 if a promise was broken.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/rows"
)

type options struct {
	binary, cache      string
	only               string
	seed               uint64
	count, most        int
	budgetMs           int
	marginMs, wakingMs int
	quick, resume      bool
}

func main() {
	testbed.Enter()
	o := options{}
	tool := testbed.NewTool("out/faults", "faults.json")
	flag.IntVar(&o.count, "count", 200, "switchovers, half of them with a fault")
	flag.Uint64Var(&o.seed, "seed", 1, "gives the order of the faults")
	flag.BoolVar(&o.quick, "quick", false, "each fault once, in one phase, in less than two minutes")
	flag.BoolVar(&o.resume, "resume", false, "keep the rows of an earlier run, and go on")
	flag.IntVar(&o.most, "most", 0, "stop after so many switchovers, to go on with -resume; 0: none")
	flag.IntVar(&o.budgetMs, "budget", 300, "the guest's budget in ms; the demo's")
	flag.IntVar(&o.marginMs, "margin", 30, "part of it, in ms, kept for a roll-back; the site file's default")
	flag.IntVar(&o.wakingMs, "waking", testbed.WakingMs, "part of it, in ms, kept until the guest is heard; of a site with emulated guests")
	flag.StringVar(&o.only, "only", "", "FAULT or FAULT/PHASE: nothing else")
	flag.Parse()
	tool.Main("faults", func(ctx context.Context, dir string) error { return run(ctx, o, tool, dir) })
}

// quickCount: two of three switchovers have a fault.
func quickCount() int { return (3*len(faults) + 1) / 2 }

func (o options) plan() (plan, error) {
	p := plan{deck: deck(o.seed, o.quick), count: o.count, faulted: 1, of: 2}
	if o.quick {
		p.count, p.faulted, p.of = quickCount(), 2, 3
	}
	if o.only == "" {
		return p, nil
	}
	var some []trial
	for _, t := range deck(o.seed, false) {
		if o.only == t.name() || o.only == t.name()+"/"+string(t.phase) {
			some = append(some, t)
		}
	}
	if len(some) == 0 {
		return p, fmt.Errorf("-only %q: there is no such fault", o.only)
	}
	return plan{deck: some, count: o.count, faulted: 1, of: 1}, nil
}

func run(ctx context.Context, o options, t *testbed.Tool, dir string) error {
	p, err := o.plan()
	if err != nil {
		return err
	}
	r, err := rows.Open[Row](t.Out, "faults.json", o.resume)
	if err != nil {
		return err
	}
	defer r.Close()
	o.binary, o.cache = t.Binary, t.Cache
	h, err := newHarness(dir, o)
	if err != nil {
		return err
	}
	ended := errors.Join(h.all(ctx, p, o.seed, o.most, r, func(line string) { fmt.Println(line) }), h.Close())
	if len(r.Rows) == 0 {
		return ended
	}
	fmt.Println()
	broken := print(os.Stdout, r.Rows)
	fmt.Printf("The rows are in %s.\n", r.Path())
	if broken > 0 {
		ended = errors.Join(ended, fmt.Errorf("%d switchovers broke a promise (seed %d)", broken, o.seed))
	}
	return ended
}
