package main

import (
	"bumpless/appliance/testbed/rows"
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"path/filepath"
)

//go:embed bench.html.tmpl
var pageText string

const pageName = "migrate.html"

// Chart: sizes in pixels. A scene is a row of panels, a panel has a bar for
// each method.
const (
	sceneWidth, nameWidth = 1140, 130
	panels                = 4
	panelWidth            = (sceneWidth - nameWidth) / panels
	barsWidth             = panelWidth - 80 // the rest is for the figures
	headHeight            = 24
	rowHeight, barHeight  = 20, 12
	baseline              = 10 // of a text, below the top of its bar
)

type page struct {
	GuestMiB int
	Default  string
	Totals   struct {
		Switchovers, Overruns  int
		Corrupt, NativeCorrupt uint64
	}
	Scenes []drawing
	Goals  []goalLine
	Rows   []Row
}

type goalLine struct {
	Load, Link                    string
	BudgetMs                      int
	Figure, Ours, Against, Wanted string
	Ratio                         string
	Verdict                       verdict
}

// drawing is one scene, ready to be written as SVG.
type drawing struct {
	Title         string
	Width, Height int
	Names         []label
	Panels        []panel
}

type panel struct {
	X       float64
	Title   string
	Bars    []bar
	Missing []label
	Mark    *label
}

type label struct {
	X, Y float64
	Text string
}

type bar struct {
	X, Y, W, H        float64
	Class, Text, Tip  string
	TextX, TextY      float64
	Spread            bool
	Low, High, Middle float64
}

// writePage makes migrate.html: one page, no scripts, nothing from elsewhere.
func writePage(dir string, measured []Row) error {
	b, err := render(measured)
	if err != nil {
		return fmt.Errorf("draw the plots: %w", err)
	}
	return rows.Replace(filepath.Join(dir, pageName), b)
}

func render(rows []Row) ([]byte, error) {
	t, err := template.New("bench").Funcs(template.FuncMap{
		"f":     func(x float64) string { return fmt.Sprintf("%.1f", x) },
		"mb":    func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) },
		"link":  linkName,
		"limit": downtimeLimit,
	}).Parse(pageText)
	if err != nil {
		return nil, err
	}
	all := compare(rows)
	p := page{GuestMiB: guestMiB, Default: defaultPolicy, Rows: rows}
	n := count(rows)
	p.Totals.Switchovers, p.Totals.Overruns, p.Totals.Corrupt, p.Totals.NativeCorrupt = n.switchovers, n.overruns, n.corrupt, n.nativeCorrupt
	for _, c := range all {
		p.Scenes = append(p.Scenes, c.draw())
	}
	for _, g := range judge(all) {
		p.Goals = append(p.Goals, goalLine{g.load, linkName(g.linkBitsPerS, g.rttMs), g.budgetMs, g.figure, g.ours, g.against, g.wanted, ratioText(g.ratio), g.verdict})
	}
	var b bytes.Buffer
	err = t.Execute(&b, p)
	return b.Bytes(), err
}

func (c comparison) draw() drawing {
	d := drawing{Title: fmt.Sprintf("%s, link %s, budget %d ms", c.load, linkName(c.linkBitsPerS, c.rttMs), c.budgetMs), Width: sceneWidth, Height: headHeight + rowHeight*len(c.methods)}
	for i, m := range c.methods {
		d.Names = append(d.Names, label{Y: barTop(i) + baseline, Text: m.method})
	}
	limitBytes, limitS := spread{}, spread{}
	for _, m := range c.methods { // the last one of ours, when there is one
		switch {
		case !isNative(m.method):
			limitBytes, limitS = m.limitBytes, m.shortest()
		case limitS.n == 0:
			limitBytes, limitS = m.limitBytes, m.limitS
		}
	}
	d.Panels = []panel{
		c.panel(0, "total time, s", "%.2f", 1, limitS.median, "limit", func(s summary) spread { return s.total }),
		c.panel(1, "blackout, ms", "%.0f", 1, float64(c.budgetMs), "budget", func(s summary) spread { return s.blackout }),
		c.panel(2, "stop, ms", "%.0f", 1, float64(c.budgetMs), "budget", func(s summary) spread { return s.stop }),
		c.panel(3, "link, MB", "%.1f", 1e-6, limitBytes.median*1e-6, "limit", func(s summary) spread { return s.linkBytes }),
	}
	return d
}

func barTop(i int) float64 { return float64(headHeight + rowHeight*i + (rowHeight-barHeight)/2) }

// panel draws one figure of every method; mark is what it is held against.
func (c comparison) panel(column int, title, format string, unit, mark float64, markName string, of func(summary) spread) panel {
	left := float64(nameWidth + column*panelWidth)
	most := mark
	for _, m := range c.methods {
		most = max(most, of(m).max*unit)
	}
	x := func(v float64) float64 { return left + barsWidth*v/max(most, 1e-9) }
	p := panel{X: left, Title: title}
	if mark > 0 {
		p.Mark = &label{X: x(mark), Text: fmt.Sprintf("%s: "+format, markName, mark)}
	}
	for i, m := range c.methods {
		s, top := of(m), barTop(i)
		if s.n == 0 {
			p.Missing = append(p.Missing, label{left + 4, top + baseline, m.outcome()})
			continue
		}
		v := s.median * unit
		p.Bars = append(p.Bars, bar{X: left, Y: top, W: x(v) - left, H: barHeight, Class: class(m.method), Text: fmt.Sprintf(format, v),
			Tip: m.method + ": " + s.text(format, unit), TextX: x(s.max*unit) + 4, TextY: top + baseline,
			Spread: s.n > 1, Low: x(s.min * unit), High: x(s.max * unit), Middle: top + barHeight/2})
	}
	return p
}

func class(method string) string {
	switch {
	case isNative(method):
		return "qemu"
	case method == defaultPolicy:
		return "default"
	}
	return "ours"
}

// downtimeLimit that a run's QEMU had; of one that was relaxed, with its tries.
func downtimeLimit(r Row) string {
	switch {
	case r.Tries > 0:
		return fmt.Sprintf("%d (try %d)", r.DowntimeLimitMs, r.Tries)
	case isNative(r.Method) && r.Outcome != notTried:
		return fmt.Sprint(r.BudgetMs)
	}
	return "-"
}
