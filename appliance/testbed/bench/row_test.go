package main

import (
	"bumpless/appliance/testbed/rows"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestRowHasTheContractsFields(t *testing.T) {
	b, err := json.Marshal(Row{})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"load", "link_bits_per_s", "rtt_ms", "method", "run", "outcome", "total_s", "blackout_ms", "stop_ms", "budget_ms",
		"link_bytes", "limit_bytes", "limit_s", "source_cpu_s", "gateway_cpu_s", "gateway_peak_bytes", "corrupt_pages"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("a row has no %s", name)
		}
	}
}

func TestEveryRowIsOnDiskAtOnceAndResumedFrom(t *testing.T) {
	dir := t.TempDir()
	all := plan(quick, 1, true)
	r, err := openResults(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all[:2] {
		row := Row{Load: c.load.name, LinkBitsPerS: c.cable.bitsPerS, RTTMs: float64(c.cable.rttMs), BudgetMs: c.budgetMs, Method: c.method, Run: c.run, Outcome: moved}
		if err := r.Add(row); err != nil {
			t.Fatal(err)
		}
		if rows, err := rows.Read[Row](filepath.Join(dir, "migrate.json")); err != nil || len(rows) != len(r.Rows) {
			t.Fatalf("on disk: %d rows, %v; want %d", len(rows), err, len(r.Rows))
		}
	}
	r.Close()
	again, err := openResults(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for i, c := range all {
		if again.has(c) != (i < 2) {
			t.Errorf("has(%v) = %v", c, again.has(c))
		}
	}
}

func TestTwoBenchesDoNotShareAFolder(t *testing.T) {
	dir := t.TempDir()
	r, err := openResults(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := openResults(dir, false); err == nil {
		second.Close()
		t.Error("a second bench was let in")
	}
	r.Close()
	third, err := openResults(dir, false)
	if err != nil {
		t.Fatal("the folder is not free again:", err)
	}
	third.Close()
}

func TestRowsThatCannotBeReadAreNotReplaced(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "migrate.json"), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := openResults(dir, true); err == nil {
		r.Close()
		t.Error("half a file was resumed from")
	}
}
