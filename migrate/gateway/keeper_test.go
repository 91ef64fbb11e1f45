package gateway

import (
	"bytes"
	"strings"
	"testing"

	"bumpless/migrate/link"
)

func TestADestinationKeepsNoMoreThanItGranted(t *testing.T) {
	data := make([]byte, link.PageSize)
	keep := func(slot uint32) link.Page { return link.Page{Kind: link.Keep, Slot: slot, Data: data} }
	delta := func(slot uint32) link.Page { return link.Page{Kind: link.Delta, Slot: slot, Data: []byte{0, 1, 7}} }
	same := func(index, slot uint32) link.Page {
		return link.Page{Block: 3, Index: index, Kind: link.Same, Slot: slot}
	}
	many := []link.Page{keep(0)}
	for range 65 {
		many = append(many, delta(0))
	}
	for name, c := range map[string]struct {
		limit int
		pages []link.Page
		want  string
	}{
		"all is well":           {2, []link.Page{keep(0), keep(1), delta(0), keep(0)}, ""},
		"past the limit":        {2, []link.Page{keep(0), keep(1), keep(2)}, "slot 2, there are 2"},
		"nothing was granted":   {0, []link.Page{keep(0)}, "slot 0, there are 0"},
		"not in order":          {9, []link.Page{keep(1)}, "not used in order"},
		"4 billion":             {9, []link.Page{keep(1<<32 - 1)}, "there are 9"},
		"a delta to nothing":    {9, []link.Page{delta(0)}, "page 0 of block 0: it is made of slot 0, which is empty"},
		"the same as a slot":    {9, []link.Page{keep(0), same(7, 0), keep(0)}, ""},
		"the same as nothing":   {9, []link.Page{keep(0), same(7, 1)}, "page 7 of block 3: it is made of slot 1, which is empty"},
		"a malformed delta":     {9, []link.Page{keep(0), {Kind: link.Delta, Data: []byte{0x80}}}, "malformed"},
		"too many in one batch": {9, many, "too many"},
	} {
		k := (&destination{}).newKeeper(c.limit)
		err := k.restore(c.pages)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: restore() = %v; want %q", name, err, c.want)
		}
	}
}

// What a slot holds is not the page's any more when that is written again.
func TestASlotKeepsWhatItHoldsWhateverBecomesOfThePage(t *testing.T) {
	one, other := bytes.Repeat([]byte{1}, link.PageSize), bytes.Repeat([]byte{2}, link.PageSize)
	keep := func(page, slot, version uint32, data []byte) link.Page {
		return link.Page{Kind: link.Keep, Index: page, Slot: slot, Version: version, Data: data}
	}
	for name, again := range map[string][]link.Page{
		"by zeros":               {{Kind: link.Zero, Index: 5, Version: 2}},
		"by a whole page":        {{Kind: link.Whole, Index: 5, Version: 2, Data: other}},
		"for a second slot":      {keep(5, 1, 2, other)},
		"as another slot's like": {keep(6, 1, 1, other), {Kind: link.Same, Index: 5, Slot: 1, Version: 2}},
		"by what is too old":     {keep(5, 1, 1, other), {Kind: link.Whole, Index: 5, Version: 2, Data: other}},
	} {
		for i := range 4 {
			together, seed := i%2 == 0, uint64(1+i/2*2)
			m := newMoving(t, seed, 1, 8, link.LastKind) // of memory that QEMU shares, mapped or not
			batches := [][]link.Page{append([]link.Page{keep(5, 0, 1, one)}, again...)}
			if !together {
				batches = [][]link.Page{batches[0][:1], again}
			}
			for _, pages := range append(batches, []link.Page{{Kind: link.Same, Index: 7, Slot: 0, Version: 1}}) {
				must(t, m.keep[0].restore(pages))
				must(t, m.dst.apply(m.keep[0], pages))
			}
			if got := m.memory()[7*link.PageSize]; got != string(one) {
				t.Errorf("page 5 written again %s, in one batch: %v: the slot holds %x; want ones", name, together, got[:min(2, len(got))])
			}
			m.dst.ram.close()
			must(t, m.shared.Close())
		}
	}
}

// As long as nothing else is written there, the guest's memory is the copy.
func TestASlotThatIsLentTakesNoMemory(t *testing.T) {
	m := newMoving(t, 1, 1, movingPages, link.LastKind)
	for i := range uint64(movingPages) {
		c := bytes.Repeat([]byte{byte(i + 1), byte(i >> 8)}, link.PageSize/2)
		must(t, m.table.arrive(0, i*link.PageSize, c, 0))
	}
	m.finish(1, nil)
	for slot, s := range m.keep[0].slots {
		if s.own != nil {
			t.Fatalf("slot %d has a copy of its own; want none", slot)
		}
	}
	if n := len(m.keep[0].slots); n != movingPages {
		t.Errorf("%d slots are used; want one for each page", n)
	}
}
