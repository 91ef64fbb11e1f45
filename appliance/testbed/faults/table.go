package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"bumpless/migrate/gateway"
)

// tally of one fault's switchovers.
type tally struct {
	outcomes                             map[string]int
	n, there, here                       int
	stop, blackout                       float64 // the longest
	exceptions, overruns, copies, broken int
	corrupt                              uint64
}

func (t *tally) add(r Row) {
	if t.outcomes == nil {
		t.outcomes = map[string]int{}
	}
	t.n++
	t.outcomes[r.Outcome]++
	if r.RunsAt == destination {
		t.there++
	} else {
		t.here++
	}
	t.stop, t.blackout, t.copies = max(t.stop, r.stopMs()), max(t.blackout, r.BlackoutMs), max(t.copies, r.Copies)
	t.corrupt += r.CorruptPages + r.CorruptBlocks
	for _, c := range []struct {
		is    bool
		count *int
	}{{r.Exception != "", &t.exceptions}, {r.overrun() && r.Exception == "", &t.overruns}, {len(r.Violations) > 0, &t.broken}} {
		if c.is {
			*c.count++
		}
	}
}

// print writes the summary and returns how many switchovers broke a promise.
func print(out io.Writer, rows []Row) (broken int) {
	tallies, all, struck := map[string]*tally{}, &tally{}, 0
	for _, r := range rows {
		name := r.Fault
		if !r.Struck {
			name = plain
		} else {
			struck++
		}
		if tallies[name] == nil {
			tallies[name] = &tally{}
		}
		tallies[name].add(r)
		all.add(r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "fault\tn\toutcomes\tat source/destination\tlongest stop, ms\tlongest blackout, ms\tcopies\tcorrupt\toverruns\texceptions\tviolations")
	line := func(name string, t *tally) {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d/%d\t%.0f\t%.0f\t%d\t%d\t%d\t%d\t%d\n", name, t.n, t.said(), t.here, t.there, t.stop, t.blackout, t.copies, t.corrupt,
			t.overruns, t.exceptions, t.broken)
	}
	if t := tallies[plain]; t != nil {
		line(plain, t)
	}
	for _, f := range faults {
		if t := tallies[f.name]; t != nil {
			line(f.name, t)
		}
	}
	line("all", all)
	w.Flush()
	fmt.Fprintf(out, "\n%d switchovers, %d with a fault: %d overruns, %d named exceptions, %d corrupt pages and blocks, at most %d copies at a time, %d with a broken promise\n",
		len(rows), struck, all.overruns, all.exceptions, all.corrupt, all.copies, all.broken)
	return all.broken
}

// said lists the outcomes, those of the protocol in their order.
func (t *tally) said() string {
	var parts []string
	for _, o := range []string{string(gateway.Moved), string(gateway.RolledBack), string(gateway.Refused), string(gateway.Failed), string(gateway.InDoubt), noWord} {
		if n := t.outcomes[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	if len(parts) == 0 {
		parts = []string{"-"}
	}
	return strings.Join(slices.Clip(parts), ", ")
}
