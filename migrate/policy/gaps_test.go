package policy

import (
	"testing"
	"time"
	"unsafe"
)

// gapsOf is the model after a series of intervals, in ms.
func gapsOf(series ...int) (g Gaps) {
	for _, x := range series {
		g = g.Add(time.Duration(x) * ms)
	}
	return g
}

func TestAPageCosts32Bytes(t *testing.T) {
	if got := unsafe.Sizeof(Page{}); got != 32 {
		t.Errorf("a page's history has %d bytes; the documentation says 32", got)
	}
	if got := unsafe.Sizeof(Gaps{}); got != 12 {
		t.Errorf("a page's model has %d bytes; the documentation says 12", got)
	}
}

func TestFewIntervalsArePredictedByTheirMean(t *testing.T) {
	for _, c := range []struct {
		series []int
		want   time.Duration
	}{
		{nil, 0},
		{[]int{300}, 300 * ms},
		{[]int{300, 500}, 400 * ms},
		{[]int{300, 500, 100}, 300 * ms},
		{[]int{0}, 1 * ms},
		{[]int{100_000}, 65_535 * ms},
		{[]int{100_000, 100_000, 100_000}, 65_531 * ms},
	} {
		if got := gapsOf(c.series...).Next(); got != c.want {
			t.Errorf("after %v: Next() = %v; want %v", c.series, got, c.want)
		}
	}
}

// A series that repeats is learnt: the prediction comes closer than the mean of
// the last three can.
func TestTheModelLearnsARhythm(t *testing.T) {
	for _, rhythm := range [][]int{{200}, {200, 1000}, {200, 200, 1400}} {
		var g Gaps
		for i := range 400 {
			g = g.Add(time.Duration(rhythm[i%len(rhythm)]) * ms)
		}
		for i := range 12 {
			want := time.Duration(rhythm[(400+i)%len(rhythm)]) * ms
			if miss := (g.Next() - want).Abs(); miss > 80*ms {
				t.Errorf("rhythm %v, interval %d: Next() = %v; want about %v", rhythm, i, g.Next(), want)
			}
			g = g.Add(want)
		}
	}
}

func TestTheModelStaysWithinItsBounds(t *testing.T) {
	r := uint32(1)
	var g Gaps
	for range 100_000 {
		r = r*1664525 + 1013904223
		x := time.Duration(r>>(8+r>>28)) * time.Microsecond // up to 16 s, over five decades
		g = g.Add(x)
		if n := g.Next(); n < ms || n > 65_535*ms {
			t.Fatalf("Next() = %v; want 1 ms to 65.535 s", n)
		}
	}
}

func TestIntervalsAreBetweenModifications(t *testing.T) {
	at := func(p Page, passes ...uint32) Page {
		for _, pass := range passes {
			p = p.Touch(pass, time.Duration(pass)*200*ms)
		}
		return p
	}
	for _, c := range []struct {
		name string
		page Page
		want time.Duration
	}{
		{"the bulk is none", at(Page{}, 1), 0},
		{"one modification has no interval", at(Page{}, 1, 2), 0},
		{"two have one", at(Page{}, 1, 2, 7), 1000 * ms},
		{"twice in one pass is once", at(Page{}, 1, 2, 7, 7), 1000 * ms},
	} {
		if got := c.page.Gaps.Next(); got != c.want {
			t.Errorf("%s: Next() = %v; want %v", c.name, got, c.want)
		}
	}
}

func TestRecentPassesAreRemembered(t *testing.T) {
	p := Page{}.Touch(1, 0).Touch(2, 0).Touch(4, 0).Touch(5, 0)
	for pass, want := range map[uint32]uint16{5: 0b1011, 6: 0b10110, 17: 0b1011 << 12, 20: 1 << 15, 21: 0, 4_000_000_000: 0} {
		if got := p.RecentAt(pass); got != want {
			t.Errorf("RecentAt(%d) = %016b; want %016b", pass, got, want)
		}
	}
}
