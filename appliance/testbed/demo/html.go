package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed demo.html.tmpl
var page string

// Charts: sizes in pixels, titles, units.
const (
	chartWidth, chartHeight  = 1080, 130
	marginLeft, marginBottom = 70, 18
	plotWidth, plotHeight    = chartWidth - marginLeft, chartHeight - marginBottom
	gapBucket                = 100 * time.Millisecond
	maxTicks                 = 12
	bytesPerMB, bitsPerByte  = 1e6, 8
	pagesTitle, heldTitle    = "pages per pass", "held and queued, MB"
	linkTitle, gapTitle      = "link, Mbit/s", "GOOSE gap, ms"
)

// chart is one band of the timeline, ready to be drawn as SVG.
type chart struct {
	Title string
	Max   string
	Path  []curve
	Bars  []bar
}

type curve struct{ Points, Class, Name string }

type bar struct {
	X, Y, W, H float64
	Class, Tip string
}

// timeline is what the page shows.
type timeline struct {
	Result        Result
	Charts        []chart
	Ticks         []tick
	Marks         []placedMark
	Width, Height int
	Left          int
}

type tick struct {
	X     float64
	Label string
}

type placedMark struct {
	X    float64
	AtS  string
	Text string
	Step bool
}

// write makes demo.html: one page, no scripts, nothing from elsewhere.
func (r *record) write(dir string, result Result) error {
	t, err := template.New("demo").Funcs(template.FuncMap{"mb": megabytes}).Parse(page)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "demo.html"))
	if err != nil {
		return err
	}
	if err := t.Execute(f, r.timeline(result)); err != nil {
		f.Close()
		return fmt.Errorf("write the timeline: %w", err)
	}
	return f.Close()
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/bytesPerMB) }

func (r *record) timeline(result Result) timeline {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.since(time.Now())
	x := func(s float64) float64 { return marginLeft + plotWidth*min(1, max(0, s/end)) }
	t := timeline{Result: result, Width: chartWidth, Height: chartHeight, Left: marginLeft,
		Charts: []chart{r.pageChart(x), r.heldChart(x), r.linkChart(x), r.gapChart(x)}}
	step := tickStep(end)
	for s := 0.0; s <= end; s += step {
		t.Ticks = append(t.Ticks, tick{x(s), fmt.Sprintf("%g s", s)})
	}
	marks := slices.Clone(r.marks)
	slices.SortStableFunc(marks, func(a, b mark) int {
		if a.AtS < b.AtS {
			return -1
		}
		if a.AtS > b.AtS {
			return 1
		}
		return 0
	})
	for _, m := range marks {
		t.Marks = append(t.Marks, placedMark{x(m.AtS), fmt.Sprintf("%.2f", m.AtS), m.Text, m.Text[0] >= '1' && m.Text[0] <= '9'})
	}
	return t
}

// tickStep is a round number of seconds with at most maxTicks in the run.
func tickStep(end float64) float64 {
	for _, s := range []float64{1, 2, 5, 10, 20, 30, 60} {
		if end/s <= maxTicks {
			return s
		}
	}
	return 120
}

func scale(most float64) func(float64) float64 {
	return func(v float64) float64 { return plotHeight - (plotHeight-12)*v/math.Max(most, 1e-9) }
}

func (r *record) pageChart(x func(float64) float64) chart {
	most := 0.0
	for _, p := range r.passes {
		most = max(most, math.Log10(1+float64(p.Pages)))
	}
	y := scale(most)
	c := chart{Title: pagesTitle + " (log)", Max: fmt.Sprintf("%.0f", math.Pow(10, most))}
	for _, p := range r.passes {
		top := y(math.Log10(1 + float64(p.Pages)))
		c.Bars = append(c.Bars, bar{x(p.AtS) - 1, top, 2.5, plotHeight - top, "pages",
			fmt.Sprintf("pass %d: %d pages, estimate %.1f ms", p.Number, p.Pages, p.EstimateMs)})
	}
	return c
}

func (r *record) heldChart(x func(float64) float64) chart {
	most := 0.0
	for _, p := range r.passes {
		most = max(most, float64(p.HeldBytes+p.QueuedBytes)/bytesPerMB)
	}
	y := scale(most)
	c := chart{Title: heldTitle, Max: fmt.Sprintf("%.1f", most)}
	for _, p := range r.passes {
		held, all := y(float64(p.HeldBytes)/bytesPerMB), y(float64(p.HeldBytes+p.QueuedBytes)/bytesPerMB)
		tip := fmt.Sprintf("pass %d: %.2f MB held, %.2f MB queued", p.Number, float64(p.HeldBytes)/bytesPerMB, float64(p.QueuedBytes)/bytesPerMB)
		c.Bars = append(c.Bars, bar{x(p.AtS) - 1, all, 2.5, held - all, "queued", tip}, bar{x(p.AtS) - 1, held, 2.5, plotHeight - held, "held", tip})
	}
	return c
}

func (r *record) linkChart(x func(float64) float64) chart {
	rates := map[string][][2]float64{}
	most := 0.0
	for host, list := range r.bytes {
		for i := 1; i < len(list); i++ {
			dt := list[i].at.Sub(list[i-1].at).Seconds()
			rate := math.Max(0, float64(list[i].bytes-list[i-1].bytes)) * bitsPerByte / bytesPerMB / math.Max(dt, 1e-3)
			rates[host] = append(rates[host], [2]float64{r.since(list[i].at), rate})
			most = max(most, rate)
		}
	}
	y := scale(most)
	c := chart{Title: linkTitle, Max: fmt.Sprintf("%.0f", most)}
	for i, host := range r.hosts {
		c.Path = append(c.Path, curve{points(rates[host], x, y), fmt.Sprintf("line%d", i), host})
	}
	return c
}

// gapChart draws, for each tenth of a second, the largest gap that ended in it.
func (r *record) gapChart(x func(float64) float64) chart {
	seen := r.cluster.Observer.Between(r.gocbRef, r.began, time.Now())
	const highest = 500.0 // a failover's seconds would hide everything else
	y := scale(highest)
	c := chart{Title: gapTitle, Max: fmt.Sprintf("%.0f", highest)}
	var at time.Time
	most, class := 0.0, ""
	flush := func() {
		if most > 0 {
			top := y(min(most, highest))
			c.Bars = append(c.Bars, bar{x(r.since(at)), top, 1.2, plotHeight - top, class, fmt.Sprintf("%.1f ms, %s", most, class)})
		}
	}
	for i := 1; i < len(seen); i++ {
		if b := seen[i].At.Truncate(gapBucket); !b.Equal(at) {
			flush()
			at, most = b, 0
		}
		most = max(most, seen[i].At.Sub(seen[i-1].At).Seconds()*1000)
		class = seen[i].Source
	}
	flush()
	return c
}

func points(list [][2]float64, x, y func(float64) float64) string {
	var b strings.Builder
	for _, p := range list {
		fmt.Fprintf(&b, "%.1f,%.1f ", x(p[0]), y(p[1]))
	}
	return b.String()
}
