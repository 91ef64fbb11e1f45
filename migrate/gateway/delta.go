package gateway

import "bumpless/migrate/link"

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
//
// Of a page that is sent once over a fast link the source keeps the hash alone, the
// destination the content: it can be shared as below, and no delta is made from it.
//
// What a slot holds also stands for any other page with the same content: a page
// goes as nothing but the slot's number then. It gets no slot of its own by that,
// and what becomes of the slot later does not matter to it: whatever it is
// written to next goes whole, or as a delta against the slot that it has.
type slots struct {
	limit    int
	same     bool // the other end knows link.Same
	kept     slotList
	at       map[uint64]uint32 // slot of a page
	holding  map[uint64]uint32 // slot that holds a content, by the first word of its hash; of two contents the later one
	hand     int
	scratch  []byte // the batch's deltas
	measured []byte // the last delta that was made to see how long it is
}

// slot is a content that was carried.
type slot struct {
	content *content    // nil: it is not kept here, and known by its hash alone
	hash    contentHash // of the content
	owner   uint64      // the page that it was carried for
	used    bool        // since the hand last came by
}

// slotList has its slots in chunks: one that grows is not copied.
type slotList struct {
	chunks []*[slotChunk]slot
	n      int
}

const slotChunk = 1024

func (l *slotList) at(i int) *slot { return &l.chunks[i/slotChunk][i%slotChunk] }

func (l *slotList) add() (at int) {
	if l.n%slotChunk == 0 {
		l.chunks = append(l.chunks, new([slotChunk]slot))
	}
	l.n++
	return l.n - 1
}

func newSlots(limit int, same bool) *slots {
	return &slots{limit: limit, same: same, at: map[uint64]uint32{}, holding: map[uint64]uint32{}}
}

// rememberAndShorten makes the pages short that were added to a batch: to what a
// slot holds already, or to deltas of the content that is kept of them. It keeps
// the new contents. What is not needed any more becomes spare.
func (s *slots) rememberAndShorten(b *batch) {
	if b.shortened == 0 {
		s.scratch = s.scratch[:0]
	}
	next := 0
	for i := b.shortened; i < len(b.pages); i++ {
		p := &b.pages[i]
		if p.Data == nil {
			continue
		}
		if c := s.page(p, b.contents[next]); c != nil {
			b.spare = append(b.spare, c)
		}
		if p.Kind == link.Whole || p.Kind == link.Keep {
			b.long++
		}
		next++
	}
	b.contents, b.shortened = b.contents[:0], len(b.pages)
}

// page takes the content of a page, and returns one that is not needed once the batch
// is written; nil is none. A bare content that is sent for the first time is known by
// its hash from then on.
//
// Most pages of a guest are sent once. To keep their contents took a sixth of a
// source's CPU time, which is what a fast link waits for; a page that is sent again
// over such a link goes whole that time, and as deltas from then on.
func (s *slots) page(p *link.Page, c leaving) (spare *content) {
	if s.limit == 0 {
		p.Kind = link.Whole
		return c.content
	}
	if at, ok := s.holds(c.hash); ok && s.same {
		s.kept.at(at).used = true
		p.Kind, p.Slot, p.Data = link.Same, uint32(at), nil
		return c.content
	}
	if p.Kind == link.Whole {
		return c.content
	}
	key := slotKey(p.Block, p.Index)
	at, known := s.slotOf(key)
	if !known {
		at = s.place()
		s.at[key], s.kept.at(at).owner = uint32(at), key
	}
	k := s.kept.at(at)
	p.Slot = uint32(at)
	k.used = known
	if known && k.content != nil {
		from := len(s.scratch)
		var ok bool
		if s.scratch, ok = link.AppendDelta(s.scratch, k.content[:], p.Data); ok {
			p.Kind, p.Data = link.Delta, s.scratch[from:len(s.scratch):len(s.scratch)]
		}
	}
	s.forget(at)
	s.holding[c.hash[0]], k.hash = uint32(at), c.hash
	if c.bare && !known && k.content == nil {
		return c.content
	}
	spare, k.content = k.content, c.content
	return spare
}

// slotKey names a page in slots.
func slotKey(block uint8, index uint32) uint64 { return uint64(block)<<32 | uint64(index) }

// slotOf a page.
func (s *slots) slotOf(key uint64) (at int, known bool) {
	n, known := s.at[key]
	return int(n), known
}

// holds finds the slot that holds the content with a hash.
func (s *slots) holds(hash contentHash) (at int, ok bool) {
	n, ok := s.holding[hash[0]]
	return int(n), ok && s.kept.at(int(n)).hash == hash
}

// forget what a slot holds.
func (s *slots) forget(at int) {
	if other, ok := s.holds(s.kept.at(at).hash); ok && other == at {
		delete(s.holding, s.kept.at(at).hash[0])
	}
}

// place returns a slot for a page that has none. A page that was sent again since
// the hand came by last stays, and so does what stood for another one.
func (s *slots) place() int {
	if s.kept.n < s.limit {
		return s.kept.add()
	}
	for {
		at := s.hand
		s.hand = (s.hand + 1) % s.kept.n
		k := s.kept.at(at)
		if !k.used {
			delete(s.at, k.owner)
			return at
		}
		k.used = false
	}
}
