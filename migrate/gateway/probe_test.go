package gateway

import (
	"bytes"
	"testing"

	"bumpless/migrate/link"
	"bumpless/migrate/pages"
	"bumpless/migrate/policy"
	"bumpless/migrate/policy/policytest"
	"bumpless/migrate/stream"
)

// Pages of random bytes were sent once, and have changed by one word each: what they
// will take is measured, not what they took.
func TestWhatHeldPagesWillTakeIsMeasured(t *testing.T) {
	m := newMoving(t, 2, 1, movingPages, link.Zeros)
	file := sharedMemory(t, movingPages*stream.PageSize)
	hold := false
	r := rule{Has: policy.Traits{DropUnchanged: true, ReadAhead: true}, Holds: func(p policy.Page, pass uint32) bool { return hold && policytest.Always(p, pass) }}
	m.table = newTable(r, m.table.hasher, movingBlocks, 1000, &memoryFile{file: file})
	m.table.carry(1, true, link.Zeros)
	m.table.ahead = true
	write := func(data []byte, at int) {
		_, err := file.WriteAt(data, int64(at)*stream.PageSize)
		must(t, err)
		must(t, m.table.arrive(0, uint64(at)*stream.PageSize, data, 0))
	}
	guest := make([][]byte, movingPages)
	for at := range guest {
		guest[at] = make([]byte, stream.PageSize)
		for i := range guest[at] {
			guest[at][i] = byte(m.random.Uint32())
		}
		write(guest[at], at)
	}
	for m.table.pages.Queued() > 0 {
		m.send(0)
	}
	m.table.passEnd(policy.Moment{})
	m.table.passEnd(policy.Moment{})
	hold = true
	for at := range guest {
		guest[at][100] ^= 1
		write(guest[at], at)
	}
	m.table.passEnd(policy.Moment{})
	m.table.passEnd(policy.Moment{})
	if got := m.table.pages.Ratio(0); got != 1 {
		t.Errorf("ratio %v before it was measured; want 1", got)
	}
	must(t, m.table.probe(0, m.slots[0]))
	m.table.passEnd(policy.Moment{})
	if got := m.table.pages.Ratio(0); got > 0.01 {
		t.Errorf("ratio %v; want that of deltas of one word", got)
	}
	m.table.letGo()
	if left := m.table.takeProbes(0); left != nil {
		t.Errorf("%d pages are to be measured while the guest is stopped; want none", len(left))
	}
}

func TestABatchsContentsTakeTheirPartOfWhatWasWritten(t *testing.T) {
	whole := bytes.Repeat([]byte{1}, link.PageSize)
	b := batch{pages: []link.Page{{Kind: link.Zeros, More: 9}, {Kind: link.Keep, Data: whole}, {Kind: link.Delta, Data: whole[:256]}, {Kind: link.Zero}, {Kind: link.Same}, {Kind: link.Whole, Data: whole}},
		at: []int{5, 6, 7, 8}, body: 10_000, packed: 5_000}
	got := map[int]uint8{}
	b.shares(func(at int, share uint8) { got[at] = share })
	for at, want := range map[int]uint8{5: pages.Sixteenths / 2, 6: 1, 7: 1, 8: pages.Sixteenths / 2} {
		if got[at] != want {
			t.Errorf("page %d took %d sixteenths; want %d", at, got[at], want)
		}
	}
	b.body = 0
	b.shares(func(at int, share uint8) { t.Errorf("page %d took %d sixteenths of what was not written", at, share) })
}
