package main

import (
	"strings"
	"testing"
)

func relaxedRow(r Row, limitMs, tries int) Row {
	r.DowntimeLimitMs, r.Tries = limitMs, tries
	return r
}

func TestAPolicyIsHeldAgainstQEMUThatMayStopTheGuestForAsLong(t *testing.T) {
	g := goalsOf(
		row("mix", 200e6, "bumpless", 1, 7.8, 266, 162, 82),
		relaxedRow(row("mix", 200e6, "qemu-relaxed", 1, 10, 400, 300, 100), 162, 1))
	total, bytes := g["total time of bumpless, same pause"], g["bytes of bumpless, same pause"]
	if total.verdict != met || total.ratio != 0.78 || total.against != "10.00 s qemu-relaxed, limit 162 ms, stop 300 ms" {
		t.Errorf("total time = %+v; want met at 0.78", total)
	}
	if bytes.verdict != missed || bytes.ratio != 0.82 {
		t.Errorf("bytes = %+v; want missed at 0.82", bytes)
	}
	if g["total time"].verdict != noRival {
		t.Errorf("total time = %+v; want no rival: QEMU relaxed has another limit than the budget", g["total time"])
	}
}

func TestAQEMUThatNeedsALongerPauseIsARivalOnlyWhereItIsBeatenAllTheSame(t *testing.T) {
	ours := row("mix", 200e6, "bumpless", 1, 7.8, 266, 162, 90)
	longer := relaxedRow(row("mix", 200e6, "qemu-relaxed", 1, 10, 400, 300, 100), 324, 2)
	g := goalsOf(ours, longer)
	if v := g["total time of bumpless, same pause"]; v.verdict != met || v.against != "10.00 s qemu-relaxed, limit 324 ms, stop 300 ms, none at the same" {
		t.Errorf("total time = %+v; want met", v)
	}
	if v := g["bytes of bumpless, same pause"]; v.verdict != noRival || v.ratio != 0.9 {
		t.Errorf("bytes = %+v; want no rival, 0.90", v)
	}
	same := relaxedRow(row("mix", 200e6, "qemu-relaxed", 2, 10, 400, 170, 100), 162, 1)
	ours2 := ours
	ours2.Run = 2
	if v := goalsOf(ours, longer, ours2, same)["bytes of bumpless, same pause"]; v.verdict != missed {
		t.Errorf("bytes = %+v; want missed: in one run QEMU had the same pause", v)
	}
}

func TestWithoutAPauseNothingIsComparedAndWithoutAMoveOfQEMUsThereIsNoRival(t *testing.T) {
	never := relaxedRow(without(row("mix", 200e6, "qemu-relaxed", 1, 12, 0, 0, 300), notConverged, "", 0), 248, 4)
	g := goalsOf(row("mix", 200e6, "bumpless", 1, 8, 60, 31, 82), never)
	if v := g["total time of bumpless, same pause"]; v.verdict != noRival || v.against != "qemu-relaxed: not-converged" {
		t.Errorf("QEMU did not move it: %+v", v)
	}
	refused := without(row("mix", 200e6, "bumpless", 1, 8, 0, 0, 82), "refused", "", 5)
	g = goalsOf(refused, without(row("mix", 200e6, "qemu-relaxed", 1, 0, 0, 0, 0), notTried, "bumpless: refused", 0))
	if v, ok := g["total time of bumpless, same pause"]; ok {
		t.Errorf("ours was refused: %+v; want no goal", v)
	}
}

func TestGuestsThatQEMUsDefaultMovesInNoRunAreMovedInEveryRun(t *testing.T) {
	const figure = "bumpless where QEMU's default moves none"
	never := without(row("hot16", 200e6, "qemu-precopy", 1, 60, 0, 0, 1400), notConverged, "", 0)
	wide := func(r Row) Row { r.BudgetMs = 1000; return r }
	refused := wide(without(row("hot16", 200e6, "bumpless", 2, 5, 0, 0, 90), "refused", "", 4))
	moves := wide(row("hot16", 200e6, "bumpless", 1, 5, 500, 400, 90))
	narrow := without(row("hot16", 200e6, "bumpless", 1, 5, 0, 0, 90), "refused", "", 4)
	for _, c := range []struct {
		name string
		rows []Row
		want verdict
	}{
		{"at a budget of 1000 ms", []Row{never, moves}, met},
		{"one of two at a budget that the hot set fits", []Row{never, moves, refused}, missed},
		{"16 MiB at 200 Mbit/s in 300 ms", []Row{never, narrow}, beyond},
		{"QEMU's default moved it once", []Row{never, row("hot16", 200e6, "qemu-precopy", 2, 50, 900, 800, 1200), moves}, ""},
		{"QEMU was not measured", []Row{moves}, ""},
	} {
		if g := goalsOf(c.rows...)[figure]; g.verdict != c.want {
			t.Errorf("%s: %+v; want %q", c.name, g, c.want)
		}
	}
	if g := goalsOf(never, moves)[figure]; g.ours != "1 of 1 moved" || g.against != "0 of 1, limit 300 ms" {
		t.Errorf("goal = %+v", g)
	}
}

func TestTheLimitOfQEMUStandsInTheTableAndThePage(t *testing.T) {
	rows := []Row{row("mix", 200e6, "bumpless", 1, 7, 266, 162, 82), relaxedRow(row("mix", 200e6, "qemu-relaxed", 1, 10, 400, 300, 100), 324, 2)}
	var b strings.Builder
	print(&b, rows)
	page, err := render(rows)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{b.String(): "limit 324 ms", string(page): "324 (try 2)"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestDowntimeLimitOfARun(t *testing.T) {
	for _, c := range []struct {
		row  Row
		want string
	}{
		{row("mix", 1e9, "qemu-precopy", 1, 2, 1, 1, 1), "300"},
		{relaxedRow(row("mix", 1e9, "qemu-relaxed", 1, 2, 1, 1, 1), 62, 2), "62 (try 2)"},
		{without(row("mix", 1e9, "qemu-relaxed", 1, 0, 0, 0, 0), notTried, "", 0), "-"},
		{row("mix", 1e9, "bumpless", 1, 2, 1, 1, 1), "-"},
	} {
		if got := downtimeLimit(c.row); got != c.want {
			t.Errorf("downtimeLimit(%s) = %q; want %q", c.row.Method, got, c.want)
		}
	}
}
