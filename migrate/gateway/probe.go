package gateway

import (
	"math/rand/v2"

	"bumpless/migrate/link"
	"bumpless/migrate/stream"
)

// probesPerPass of the pages that are held: some 5 us of CPU time each. Where one in
// eight is whole and the rest next to nothing, their mean is a fifth off or less.
const probesPerPass = 256

// askProbes has the connections measure what a sample of the pages that are held
// would take: each knows what it has sent of its own. mu is held.
func (t *table) askProbes() {
	if !t.ahead {
		return // contents are not in the memory file, or are not kept once they are sent
	}
	for c := range t.probes {
		t.probes[c] = t.probes[c][:0]
	}
	t.pages.Sample(probesPerPass, rand.IntN, func(at, connection int) {
		if connection < len(t.probes) {
			t.probes[connection] = append(t.probes[connection], at)
		}
	})
}

// takeProbes that a connection is asked for: none any more when the guest is stopped.
func (t *table) takeProbes(connection int) []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if connection >= len(t.probes) || t.pages.Stopped() {
		return nil
	}
	list := t.probes[connection]
	t.probes[connection] = nil
	return list
}

// probe measures the pages that a connection is asked for, against what its slots
// hold of them.
func (t *table) probe(connection int, s *slots) error {
	list := t.takeProbes(connection)
	if len(list) == 0 {
		return nil
	}
	var page content
	pages, bytes := 0, 0
	for _, at := range list {
		block := t.blockOf(at)
		index := uint64(at - t.first[block])
		if !t.memory.has(block) {
			continue
		}
		if err := t.memory.read(index*stream.PageSize, page[:]); err != nil {
			return err
		}
		if n, known := s.measure(block, index, &page); known {
			pages, bytes = pages+1, bytes+n
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pages.Sampled(pages, bytes)
	return nil
}

// measure how many bytes a page's new content would take as a delta; all of it where
// that is no shorter. Not known where no content is kept of it.
func (s *slots) measure(block int, index uint64, c *content) (n int, known bool) {
	at, known := s.slotOf(slotKey(uint8(block), uint32(index)))
	if !known || s.kept.at(at).content == nil {
		return 0, false
	}
	delta, ok := link.AppendDelta(s.measured[:0], s.kept.at(at).content[:], c[:])
	if s.measured = delta; !ok {
		return stream.PageSize, true
	}
	return len(delta), true
}
