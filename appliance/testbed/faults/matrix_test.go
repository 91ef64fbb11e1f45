package main

import (
	"slices"
	"strings"
	"testing"
)

// carriedOut plays the plan; reached says whether the n-th row's fault strikes.
func carriedOut(p plan, reached func(n int) bool) (rows []Row) {
	for len(rows) < 10*p.count {
		t, more := p.next(rows)
		if !more {
			break
		}
		rows = append(rows, Row{Fault: t.name(), Phase: string(t.phase), Struck: t.fault != nil && reached(len(rows))})
	}
	return rows
}

func struck(rows []Row) (names []string) {
	for _, r := range rows {
		if r.Struck {
			names = append(names, r.Fault+" "+r.Phase)
		}
	}
	return names
}

func TestHalfOfTheSwitchoversHaveAFaultAndTheWholeMatrixIsTried(t *testing.T) {
	p := plan{deck: deck(1, false), count: 200, faulted: 1, of: 2}
	rows := carriedOut(p, func(int) bool { return true })
	names := struck(rows)
	if len(rows) != 200 || len(names) != 100 {
		t.Fatalf("%d switchovers, %d with faults; want 200, 100", len(rows), len(names))
	}
	for _, c := range p.deck {
		if !slices.Contains(names, c.name()+" "+string(c.phase)) {
			t.Errorf("%s in %s was not tried", c.name(), c.phase)
		}
	}
	for i, r := range rows {
		if (r.Fault == plain) != (i%2 == 0) {
			t.Fatalf("switchover %d has fault %s; want every second one with a fault", i+1, r.Fault)
		}
	}
}

func TestAFaultThatDidNotStrikeIsTriedAgain(t *testing.T) {
	rows := carriedOut(plan{deck: deck(1, false), count: 20, faulted: 1, of: 2}, func(n int) bool { return n%3 > 0 })
	if n := len(struck(rows)); n != 10 {
		t.Errorf("%d faults struck; want 10, however often it takes", n)
	}
	rows = carriedOut(plan{deck: deck(1, false), count: 20, faulted: 1, of: 2}, func(int) bool { return false })
	if len(struck(rows)) != 0 || len(rows) != 200 {
		t.Fatalf("%d rows, %d struck; want none to strike", len(rows), len(struck(rows)))
	}
	tried := map[string]bool{}
	for _, r := range rows {
		tried[r.Fault+r.Phase] = true
	}
	if len(tried) < 20 {
		t.Errorf("%d trials took turns; one that is never reached must not hold up the others", len(tried))
	}
}

func TestQuickMeetsEachFaultOnce(t *testing.T) {
	for seed := range uint64(5) {
		p := plan{deck: deck(seed, true), count: quickCount(), faulted: 2, of: 3}
		rows := carriedOut(p, func(int) bool { return true })
		names := struck(rows)
		for _, f := range faults {
			if !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, f.name+" ") }) {
				t.Errorf("seed %d: %s was not tried", seed, f.name)
			}
		}
		if len(rows) > 25 {
			t.Errorf("seed %d: %d switchovers; quick should have about 20", seed, len(rows))
		}
	}
}

func TestASeedGivesTheSameOrder(t *testing.T) {
	same := func(a, b trial) bool { return a == b }
	if !slices.EqualFunc(deck(7, false), deck(7, false), same) || slices.EqualFunc(deck(7, false), deck(8, false), same) {
		t.Error("a seed must fix the order, and another one change it")
	}
}
