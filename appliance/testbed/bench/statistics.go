package main

import (
	"cmp"
	"slices"
)

// spread of a figure over the runs of one method.
type spread struct {
	n                int
	median, min, max float64
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	s := spread{n: len(v), median: v[len(v)/2], min: v[0], max: v[len(v)-1]}
	if len(v)%2 == 0 {
		s.median = (v[len(v)/2-1] + v[len(v)/2]) / 2
	}
	return s
}

// scene is what methods are compared in.
type scene struct {
	load         string
	linkBitsPerS int64
	rttMs        float64
	budgetMs     int
}

// summary of one method in a scene. The spreads of time, pause and bytes are
// over the runs that moved the guest; a run that did not has no such figure.
type summary struct {
	method    string
	runs      []Row
	moved     int
	total     spread // s
	blackout  spread // ms
	stop      spread // ms
	waking    spread // ms; of the blackout, what followed the stop: see comparison.waking
	linkBytes spread
	// of QEMU relaxed, over the runs that moved the guest
	downtimeLimit spread // ms
	tries         spread
	// over all runs
	limitBytes, limitS                                                            spread
	busy                                                                          spread // s; see Row.busyS
	preparation, guestShare, sourceCPU, gatewayCPU, othersCPU, gatewayPeak, tried spread
	corrupt                                                                       uint64
}

// allMoved tells whether every run moved the guest.
func (s summary) allMoved() bool { return len(s.runs) > 0 && s.moved == len(s.runs) }

// shortest is the least time that a move of ours can take: what the link takes, or the CPUs
// beside the guest.
func (s summary) shortest() spread {
	if s.busy.median > s.limitS.median {
		return s.busy
	}
	return s.limitS
}

// outcome is the one of the runs that did not move the guest, or moved.
func (s summary) outcome() string {
	for _, r := range s.runs {
		if r.Outcome != moved {
			return r.Outcome
		}
	}
	return moved
}

// comparison is a scene with what every method did in it.
type comparison struct {
	scene
	methods []summary
}

func (c comparison) method(name string) (summary, bool) {
	for _, m := range c.methods {
		if m.method == name {
			return m, true
		}
	}
	return summary{}, false
}

// compare groups the rows, scenes and methods in the order of the plan.
func compare(rows []Row) []comparison {
	var all []comparison
	for _, r := range rows {
		s := scene{r.Load, r.LinkBitsPerS, r.RTTMs, r.BudgetMs}
		i := slices.IndexFunc(all, func(c comparison) bool { return c.scene == s })
		if i < 0 {
			i, all = len(all), append(all, comparison{scene: s})
		}
		m := slices.IndexFunc(all[i].methods, func(m summary) bool { return m.method == r.Method })
		if m < 0 {
			m, all[i].methods = len(all[i].methods), append(all[i].methods, summary{method: r.Method})
		}
		all[i].methods[m].runs = append(all[i].methods[m].runs, r)
	}
	order := methods()
	for i := range all {
		for m := range all[i].methods {
			all[i].methods[m].summarise()
		}
		slices.SortStableFunc(all[i].methods, func(a, b summary) int {
			return cmp.Compare(slices.Index(order, a.method), slices.Index(order, b.method))
		})
	}
	return all
}

func (s *summary) summarise() {
	all := func(figure func(Row) float64) spread {
		var v []float64
		for _, r := range s.runs {
			v = append(v, figure(r))
		}
		return spreadOf(v)
	}
	ofMoved := func(figure func(Row) float64) spread {
		var v []float64
		for _, r := range s.runs {
			if r.Outcome == moved {
				v = append(v, figure(r))
			}
		}
		return spreadOf(v)
	}
	s.total = ofMoved(func(r Row) float64 { return r.TotalS })
	s.moved = s.total.n
	s.blackout = ofMoved(func(r Row) float64 { return r.BlackoutMs })
	s.stop = ofMoved(func(r Row) float64 { return r.StopMs })
	s.waking = ofMoved(func(r Row) float64 { return max(0, r.BlackoutMs-r.StopMs) })
	s.linkBytes = ofMoved(func(r Row) float64 { return float64(r.LinkBytes) })
	if _, relaxed := relaxationOf(s.method); relaxed {
		s.downtimeLimit = ofMoved(func(r Row) float64 { return float64(r.DowntimeLimitMs) })
		s.tries = ofMoved(func(r Row) float64 { return float64(r.Tries) })
	}
	s.limitBytes = all(func(r Row) float64 { return float64(r.LimitBytes) })
	s.limitS = all(func(r Row) float64 { return r.LimitS })
	s.busy = ofMoved(Row.busyS)
	s.preparation = all(func(r Row) float64 { return r.PreparationS })
	s.guestShare = ofMoved(func(r Row) float64 { return r.guestShare() })
	s.sourceCPU = all(func(r Row) float64 { return r.SourceCPUS })
	s.gatewayCPU = all(func(r Row) float64 { return r.GatewayCPUS })
	s.othersCPU = all(func(r Row) float64 { return r.OthersCPUS })
	s.gatewayPeak = all(func(r Row) float64 { return float64(r.GatewayPeakBytes) })
	s.tried = all(func(r Row) float64 { return r.TotalS })
	for _, r := range s.runs {
		s.corrupt += r.CorruptPages
	}
}
