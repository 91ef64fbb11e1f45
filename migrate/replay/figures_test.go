package replay

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/policy"
)

var update = flag.Bool("update", false, "write testdata/figures.txt anew")

const figuresFile = "testdata/figures.txt"

// recordings of real guests on QEMU 10 under emulation: the protection guest as
// appliance/testbed's TestE2EARecordedTrace… recorded it, and the bench's loads
// (migrate-bench -record DIR), 4 s of each.
var recordings = map[string]string{
	"prot": "prot.trace", "bench-idle": "bench-idle.trace.gz", "bench-hot16": "bench-hot16.trace.gz", "bench-hot48": "bench-hot48.trace.gz",
	"bench-mix": "bench-mix.trace.gz", "bench-redis": "bench-redis.trace.gz", "bench-postgresql": "bench-postgresql.trace.gz", "bench-compile": "bench-compile.trace.gz",
}

// traces in the order of the table: those that are made, and the recordings.
var traces = []string{"idle", "hot8", "hot16", "ring16", "hot48", "mix", "ring", "prot",
	"bench-idle", "bench-hot16", "bench-hot48", "bench-mix", "bench-redis", "bench-postgresql", "bench-compile"}

func recording(t testing.TB, path string) Trace {
	t.Helper()
	file, err := os.ReadFile("testdata/" + path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if file, err = io.ReadAll(z); err != nil {
			t.Fatal(err)
		}
	}
	trace, err := Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

// traceOf one of the loads, 20 s long, or a recording.
func traceOf(t testing.TB, name string) Trace {
	t.Helper()
	if trace, ok := made[name]; ok {
		return trace
	}
	if path, ok := recordings[name]; ok {
		made[name] = recording(t, path)
		return made[name]
	}
	for _, l := range Loads() {
		if l.Name == name {
			made[name] = l.Trace(1, 20*time.Second)
			return made[name]
		}
	}
	t.Fatalf("no load %q", name)
	return Trace{}
}

var made = map[string]Trace{}

func settings(bitsPerS int64, budget time.Duration) Settings {
	s := Defaults()
	s.Link.BitsPerS, s.Budget = bitsPerS, budget
	return s
}

// holding is bumpless with the rule of another policy for what it holds.
type holding struct {
	policy.Policy
	rule policy.Policy
}

func (h holding) Hold(p policy.Page, m policy.Moment) bool    { return h.rule.Hold(p, m) }
func (h holding) Release(p policy.Page, m policy.Moment) bool { return h.rule.Release(p, m) }

// inOrder is a policy where contents cannot be read when they are sent.
type inOrder struct{ policy.Policy }

const inOrderName = "in-order"

func (o inOrder) Traits() policy.Traits {
	t := o.Policy.Traits()
	t.ReadAhead = false
	return t
}

// named is a policy, "bumpless/RULE" or "bumpless/in-order".
func named(t testing.TB, name string) policy.Policy {
	t.Helper()
	name, rule, mixed := strings.Cut(name, "/")
	p, err := policy.New(name)
	if err != nil {
		t.Fatal(err)
	}
	if rule == inOrderName {
		return inOrder{p}
	}
	if mixed {
		r, err := policy.New(rule)
		if err != nil {
			t.Fatal(err)
		}
		return holding{p, r}
	}
	return p
}

func figures(t testing.TB, trace Trace, name string, s Settings) Figures {
	t.Helper()
	f, err := RunPolicy(trace, named(t, name), s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// known figures of named traces: the tests ask for many of them again.
var known = map[string]Figures{}

func figuresOf(t testing.TB, trace, name string, s Settings) Figures {
	t.Helper()
	key := fmt.Sprint(trace, name, s)
	if _, ok := known[key]; !ok {
		known[key] = figures(t, traceOf(t, trace), name, s)
	}
	return known[key]
}

func figuresTable(t *testing.T) string {
	var b strings.Builder
	row := func(columns ...any) { fmt.Fprintf(&b, "%-16s %6s %6s  %-16s %-11s %11s %6s %9s %7s %8s\n", columns...) }
	fmt.Fprint(&b, "# What each policy makes of each trace: go test ./migrate/replay -update\n"+
		"# 5 % of the link is left to the service; a margin of 50 ms, 5 ms from decision to stop.\n"+
		"# bumpless/RULE is bumpless with another policy's rule for what it holds, bumpless/in-order\n"+
		"# where QEMU does not share the guest's memory.\n")
	row("trace", "Mbit/s", "budget", "policy", "outcome", "bytes", "passes", "total_ms", "stop_ms", "estimate")
	for _, name := range traces {
		for _, c := range []struct{ mbits, budgetMs int64 }{{200, 300}, {200, 1000}, {1000, 300}} {
			for _, p := range []string{"precopy", "layered", "delayed", "ar", "memory-pattern", "bumpless", "bumpless/delayed", "bumpless/ar", "bumpless/layered", "bumpless/" + inOrderName} {
				f := figuresOf(t, name, p, settings(c.mbits*1e6, time.Duration(c.budgetMs)*time.Millisecond))
				row(name, fmt.Sprint(c.mbits), fmt.Sprint(c.budgetMs), p, f.Outcome, fmt.Sprint(f.LinkBytes), fmt.Sprint(f.Passes), millis(f.Total), millis(f.Pause), millis(f.Estimate))
			}
		}
	}
	return b.String()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

// A change of a policy shows here, in figures.
func TestTheFiguresAreThoseOfTheTable(t *testing.T) {
	got := figuresTable(t)
	if *update {
		if err := os.WriteFile(figuresFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(figuresFile)
	if err != nil {
		t.Fatal(err)
	}
	was := strings.Split(string(file), "\n")
	for i, line := range strings.Split(got, "\n") {
		if i >= len(was) || line != was[i] {
			old := "(no such line)"
			if i < len(was) {
				old = was[i]
			}
			t.Errorf("line %d:\nis   %s\nwas  %s", i+1, line, old)
		}
	}
	if len(got) < len(file) {
		t.Errorf("the table has %d bytes, there are %d now", len(file), len(got))
	}
}
