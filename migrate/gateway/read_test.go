package gateway

import (
	"testing"

	"bumpless/migrate/link"
	"bumpless/migrate/stream"
)

func TestAPassEndsWhereMemoryBeginsAnew(t *testing.T) {
	type step struct {
		block, index int
		end          bool // of a section, not a page
	}
	page := func(block, index int) step { return step{block, index, false} }
	end := step{end: true}
	for _, c := range []struct {
		name  string
		steps []step
		ended uint32
	}{
		{"upwards is one pass", []step{page(0, 0), page(0, 3), end, page(0, 4), page(1, 0), page(1, 1), end}, 0},
		{"a lower page begins another", []step{page(0, 3), page(0, 1)}, 1},
		{"so does the same page", []step{page(0, 3), end, page(0, 3)}, 1},
		{"so does an earlier block", []step{page(1, 0), page(0, 7)}, 1},
		{"a later block with a lower page does not", []step{page(0, 7), page(1, 0)}, 0},
		{"an empty section ends one", []step{page(0, 1), end, end}, 1},
		{"an idle guest's passes are empty", []step{page(0, 1), end, end, end, end}, 3},
		{"nothing is left of the last pass", []step{page(0, 7), end, end, page(0, 1), page(0, 2)}, 1},
	} {
		s := &source{policy: rule{}, table: tableOf(t, rule{}), send: newSender(nil, new(link.Meter), false), report: func(Event) {}, hurry: make(chan struct{})}
		s.passes.Store(1)
		p := passes{s: s}
		for _, x := range c.steps {
			if x.end {
				must(t, p.sectionEnd())
				continue
			}
			must(t, p.page(stream.Record{Block: x.block, Offset: uint64(x.index) * stream.PageSize, Zero: true}))
		}
		if got := s.passes.Load() - 1; got != c.ended {
			t.Errorf("%s: %d passes ended; want %d", c.name, got, c.ended)
		}
	}
}
