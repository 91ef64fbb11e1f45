package gateway

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"bumpless/migrate/link"
	"bumpless/migrate/stream"
)

// Few contents in many pages that are written all the time, little memory for
// them, connections that are ahead of each other and take of each other's pages:
// what the destination is handed is the guest's memory, and the digests agree.
func TestPagesWithTheSameContentLeadToTheGuestsMemory(t *testing.T) {
	kinds, stolen := map[link.Kind]int{}, 0
	for seed := range uint64(60) {
		connections, slotsEach := 1+int(seed%3), []int{0, 1, 3, 8, movingPages}[seed/3%5]
		m := newMoving(t, seed, connections, slotsEach, link.LastKind)
		m.bare = seed%5 < 2
		contents := fewContents(m.random)
		guest := map[uint64][]byte{}
		slow := 0
		for round := range 40 {
			if round%4 == 0 {
				slow = m.random.IntN(connections + 1) // it sends nothing for a while
			}
			for range m.random.IntN(2 * movingPages) {
				offset := m.random.Uint64N(movingPages) * stream.PageSize
				must(t, m.table.arrive(0, offset, m.rewrite(guest, contents, offset), 0))
			}
			for i, from := uint64(0), m.random.Uint64N(movingPages-8); i < 8; i++ { // freed together
				offset := (from + i) * stream.PageSize
				guest[offset] = nil
				must(t, m.table.arrive(0, offset, nil, 0))
			}
			for range m.random.IntN(12) {
				if c := m.random.IntN(connections); c != slow {
					if line, _ := m.table.pages.Line(c); line.Stolen {
						stolen++
					}
					m.send(c)
				}
				m.deliver(m.random.IntN(connections))
			}
		}
		m.finish(seed, guest)
		for kind, n := range m.kinds {
			kinds[kind] += n
		}
		if slotsEach == 0 && m.kinds[link.Same] > 0 {
			t.Errorf("seed %d: %v; want none that are the same without slots", seed, m.kinds)
		}
	}
	if kinds[link.Same] < 1000 || kinds[link.Delta] < 1000 || kinds[link.Keep] < 1000 || kinds[link.Zeros] < 100 || stolen < 50 {
		t.Errorf("kinds %v, %d batches stolen; want more, or nothing was shown", kinds, stolen)
	}
}

// fewContents differ from each other a little or altogether.
func fewContents(random *rand.Rand) (list [][]byte) {
	for i := range 6 {
		page := make([]byte, stream.PageSize)
		for j := range page {
			page[j] = byte(i / 2)
			if i%3 == 2 {
				page[j] = byte(random.Uint32())
			}
		}
		page[i] = 0xff
		list = append(list, page)
	}
	return list
}

// rewrite makes a page one of a few contents, one of them with a change, or zero.
func (m *moving) rewrite(guest map[uint64][]byte, contents [][]byte, offset uint64) []byte {
	page := bytes.Clone(contents[m.random.IntN(1+m.random.IntN(len(contents)))])
	switch m.random.IntN(8) {
	case 0:
		page = nil
	case 1, 2:
		page[m.random.IntN(len(page))] ^= byte(1 + m.random.IntN(255))
	}
	guest[offset] = page
	return page
}

func TestAContentGoesOnceHoweverManyPagesHoldIt(t *testing.T) {
	m := newMoving(t, 1, 1, movingPages, link.LastKind)
	for i := range uint64(movingPages) {
		must(t, m.table.arrive(0, i*stream.PageSize, fewContents(m.random)[i%2], 0))
	}
	m.finish(1, nil)
	if m.kinds[link.Keep] != 2 || m.kinds[link.Same] != movingPages-2 {
		t.Errorf("%v; want 2 kept contents, %d the same as those", m.kinds, movingPages-2)
	}
}

func TestAContentIsKnownByItsHashAtAnyPlace(t *testing.T) {
	h, err := newHasher(bytes.Repeat([]byte{3}, 16))
	must(t, err)
	a, b := bytes.Repeat([]byte{1}, stream.PageSize), bytes.Repeat([]byte{2}, stream.PageSize)
	of := func(block int, index uint64, data []byte) contentHash {
		return h.contentOf(block, index, h.page(block, index, data))
	}
	if of(0, 1, a) != of(7, 1<<33, a) || of(0, 1, a) == of(0, 1, b) {
		t.Errorf("contentOf() = %x, %x, %x; want the first two the same", of(0, 1, a), of(7, 1<<33, a), of(0, 1, b))
	}
}

// A run of zeros costs a few bytes.
func TestPagesOfZerosGoInRuns(t *testing.T) {
	m := newMoving(t, 1, 1, 8, link.LastKind)
	for i := range uint64(movingPages) {
		must(t, m.table.arrive(0, i*stream.PageSize, nil, 0))
	}
	m.send(0)
	if n := len(m.wires[0][0].Body); m.table.pages.Queued() != 0 || n != 12 {
		t.Errorf("%d pages are left, and %d bytes written; want 0, 12", m.table.pages.Queued(), n)
	}
	m.finish(1, nil)
}

func TestARunOfZerosEndsWithTheGuestsRAM(t *testing.T) {
	for more, want := range map[uint16]bool{movingPages - 2: true, movingPages - 1: false, 1<<16 - 1: false} {
		m := newMoving(t, 1, 1, 8, link.LastKind)
		err := m.dst.apply(nil, []link.Page{{Kind: link.Zeros, Index: 1, Version: 1, More: more}})
		if (err == nil) != want {
			t.Errorf("apply() of page 1 and %d more of %d = %v; want no error: %v", more, movingPages, err, want)
		}
		m.dst.ram.close()
		must(t, m.shared.Close()) // two files could not be told apart
	}
}
