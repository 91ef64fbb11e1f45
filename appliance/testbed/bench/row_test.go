package main

import (
	"encoding/json"
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

func TestABenchGoesOnWithWhatIsMissing(t *testing.T) {
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
