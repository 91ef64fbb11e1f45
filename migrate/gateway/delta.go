package gateway

import (
	"errors"
	"fmt"

	"bumpless/migrate/link"
)

// slots are the contents that one connection has carried and that both its
// ends keep, so that what a page has become can be said as a difference.
//
// Both ends do the same to their slots in the order of the connection, which
// TCP and TLS keep. So a delta finds in its slot exactly the content it was made
// from, whatever other connections carry meanwhile, and leads to the whole
// content of its version: the newest version wins as before, the tag is computed
// of that content, and the digest stays a proof of what QEMU was handed. Slots
// are filled and evicted by the source alone. A fault here, in whatever end,
// makes another content, another digest, and so a roll-back.
type slots struct {
	limit    int
	contents []*content
	owners   []uint64       // of each slot
	used     []bool         // since the hand last came by
	at       map[uint64]int // slot of a page
	hand     int
	scratch  []byte // the batch's deltas
}

func newSlots(limit int) *slots { return &slots{limit: limit, at: map[uint64]int{}} }

// rememberAndShorten makes deltas of those pages of a batch whose earlier
// content is kept, and keeps the new contents. What is not needed any more comes
// back in the batch's contents.
func (s *slots) rememberAndShorten(b *batch) {
	s.scratch = s.scratch[:0]
	next := 0
	for i := range b.pages {
		p := &b.pages[i]
		if p.Data == nil {
			continue
		}
		if p.Kind == link.Keep {
			s.page(p, &b.contents[next])
		}
		next++
	}
	kept := b.contents[:0]
	for _, c := range b.contents {
		if c != nil {
			kept = append(kept, c)
		}
	}
	b.contents = kept
}

// page takes the content of a page, and leaves what its slot held.
func (s *slots) page(p *link.Page, c **content) {
	key := uint64(p.Block)<<32 | uint64(p.Index)
	slot, known := s.at[key]
	if !known {
		if slot = s.place(); slot < 0 {
			p.Kind = link.Whole
			return
		}
		delete(s.at, s.owners[slot])
		s.at[key], s.owners[slot], s.used[slot] = slot, key, false
	}
	p.Slot = uint32(slot)
	if known {
		s.used[slot] = true
		from := len(s.scratch)
		var ok bool
		if s.scratch, ok = link.AppendDelta(s.scratch, s.contents[slot][:], p.Data); ok {
			p.Kind, p.Data = link.Delta, s.scratch[from:len(s.scratch):len(s.scratch)]
		}
	}
	s.contents[slot], *c = *c, s.contents[slot]
}

// place returns a slot for a page that has none; -1 when there are no slots. A
// page that was sent again since the hand came by last stays.
func (s *slots) place() int {
	if n := len(s.contents); n < s.limit {
		s.contents, s.owners, s.used = append(s.contents, nil), append(s.owners, ^uint64(0)), append(s.used, false)
		return n
	}
	if s.limit == 0 {
		return -1
	}
	for {
		slot := s.hand
		s.hand = (s.hand + 1) % len(s.contents)
		if !s.used[slot] {
			return slot
		}
		s.used[slot] = false
	}
}

// keeper is the other end of slots: it takes what comes over its connection.
type keeper struct {
	limit    int
	contents []*content
	pool     pool
	whole    [4 * link.MaxBatchPages]content // what the batch's deltas led to
}

// restore makes whole contents of a batch's deltas, valid until the next call.
func (k *keeper) restore(pages []link.Page) error {
	deltas := 0
	for i := range pages {
		p := &pages[i]
		switch p.Kind {
		case link.Keep:
			if err := k.keep(p); err != nil {
				return err
			}
		case link.Delta:
			if int64(p.Slot) >= int64(len(k.contents)) || deltas == len(k.whole) {
				return fmt.Errorf("page %d of block %d: a delta to slot %d, which is empty, or too many in one batch", p.Index, p.Block, p.Slot)
			}
			c := k.contents[p.Slot]
			if err := link.ApplyDelta(c[:], p.Data); err != nil {
				return fmt.Errorf("page %d of block %d: %w", p.Index, p.Block, err)
			}
			// A later page of this batch may take the slot.
			k.whole[deltas] = *c
			p.Data = k.whole[deltas][:]
			deltas++
		}
	}
	return nil
}

// keep stores a content. Slots are first used in order, so that memory grows
// with what has come and not with what is claimed.
func (k *keeper) keep(p *link.Page) error {
	switch at := int64(p.Slot); {
	case at >= int64(k.limit):
		return fmt.Errorf("page %d of block %d: slot %d, there are %d", p.Index, p.Block, p.Slot, k.limit)
	case at == int64(len(k.contents)):
		k.contents = append(k.contents, k.pool.get())
	case at > int64(len(k.contents)):
		return errors.New("slots are not used in order")
	}
	copy(k.contents[p.Slot][:], p.Data)
	return nil
}
