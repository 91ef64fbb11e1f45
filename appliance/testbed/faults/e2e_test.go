package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/rows"
	"bumpless/migrate/gateway"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "gateway" {
		os.Exit(gateway.Main(os.Args[2], os.Stdin, os.Stdout))
	}
	testbed.Enter()
	os.Exit(m.Run())
}

// Four times the demo's, and no more than a process of a shared machine may wait
// for its CPU. The full run holds the demo's.
const (
	testBudgetMs = 1200
	testMarginMs = 120
)

// Each fault of the matrix once, in the phase that the day gives it: over time
// all are met. The seed is in the log, and replays the order.
func TestE2EEachFaultLeavesTheGuestInOnePlaceWithinItsBudget(t *testing.T) {
	cache, err := filepath.Abs("../../../out/cache")
	must(t, err)
	if _, err := os.Stat(filepath.Join(cache, "guest-vmlinuz")); err != nil {
		t.Fatalf("the protection guest is missing (%v): run `make guest`", err)
	}
	dir, err := os.MkdirTemp("", "bl-") // short: a socket's path has 108 bytes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	h, err := newHarness(dir, options{binary: "/proc/self/exe", cache: cache, budgetMs: testBudgetMs, marginMs: testMarginMs, wakingMs: testbed.WakingMs})
	must(t, err)
	t.Cleanup(func() { must(t, h.Close()) })
	r, err := rows.Open[Row](t.TempDir(), "faults.json", false)
	must(t, err)
	t.Cleanup(r.Close)
	seed := uint64(time.Now().YearDay())
	t.Logf("go run ./appliance/testbed/faults -quick -seed %d", seed)
	p, err := options{quick: true, seed: seed}.plan()
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	must(t, h.all(ctx, p, seed, 3*quickCount()/2, r, func(line string) { t.Log(line) }))
	var table strings.Builder
	broken := print(&table, r.Rows)
	t.Log("\n" + table.String())
	if broken > 0 {
		t.Errorf("%d of %d switchovers broke a promise; want none", broken, len(r.Rows))
	}
	met := map[string]bool{}
	for _, row := range r.Rows {
		met[row.Fault] = met[row.Fault] || row.Struck
	}
	for _, f := range faults {
		if !met[f.name] {
			t.Errorf("%s did not strike in %d switchovers", f.name, len(r.Rows))
		}
	}
}
