package gateway

import (
	"errors"
	"fmt"

	"bumpless/migrate/link"
	"bumpless/migrate/stream"
)

// keeper is the other end of slots: it takes what comes over its connection.
//
// What a slot holds is mostly what the guest's memory holds of the page that it was
// carried for. Where that can be read (ram), the slot is lent to the page, and has no
// content of its own until something else is about to be written there: what is kept
// would otherwise be half of what a guest has, taken while the move waits for it.
type keeper struct {
	limit int
	count int               // slots that were used
	fresh map[uint32][]byte // what slots hold from the batch on that was restored last
	whole [link.MaxShortPages]content

	d     *destination // its mu guards the rest, which other connections look at
	slots []kept
	lent  []uint32 // of each page of ram, one more than the slot that is lent to it; 0: none
	pool  pool
}

// kept is what a slot holds.
type kept struct {
	own *content // nil: it is lent
	to  uint64   // that page of ram
}

func (d *destination) newKeeper(limit int) *keeper {
	k := &keeper{limit: limit, fresh: map[uint32][]byte{}, d: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keepers = append(d.keepers, k)
	return k
}

// restore makes whole contents of what came short, valid until the next call. The
// pages must be applied before that.
func (k *keeper) restore(pages []link.Page) error {
	clear(k.fresh)
	short := 0
	for i := range pages {
		p := &pages[i]
		switch p.Kind {
		case link.Keep:
			if err := k.use(p); err != nil {
				return err
			}
			k.fresh[p.Slot] = p.Data
		case link.Delta, link.Same:
			if int64(p.Slot) >= int64(k.count) || short == len(k.whole) {
				return fmt.Errorf("page %d of block %d: it is made of slot %d, which is empty, or too many are in one batch", p.Index, p.Block, p.Slot)
			}
			c := k.whole[short][:]
			if err := k.read(p.Slot, c); err != nil {
				return err
			}
			short++
			if p.Kind == link.Delta {
				if err := link.ApplyDelta(c, p.Data); err != nil {
					return fmt.Errorf("page %d of block %d: %w", p.Index, p.Block, err)
				}
				k.fresh[p.Slot] = c
			}
			p.Data = c
		}
	}
	return nil
}

// use takes note of a slot. They are first used in order, so that memory grows with
// what has come and not with what is claimed.
func (k *keeper) use(p *link.Page) error {
	switch at := int64(p.Slot); {
	case at >= int64(k.limit):
		return fmt.Errorf("page %d of block %d: slot %d, there are %d", p.Index, p.Block, p.Slot, k.limit)
	case at == int64(k.count):
		k.count++
	case at > int64(k.count):
		return errors.New("slots are not used in order")
	}
	return nil
}

// read what a slot holds.
func (k *keeper) read(slot uint32, into []byte) error {
	if c, ok := k.fresh[slot]; ok {
		copy(into, c)
		return nil
	}
	k.d.mu.Lock()
	defer k.d.mu.Unlock()
	s := &k.slots[slot]
	if s.own == nil {
		return k.d.ram.read(s.to*stream.PageSize, into)
	}
	copy(into, s.own[:])
	return nil
}

// put a page's content into its slot, which is lent to it if what ram has of the page
// is that. The destination's mu is held.
func (k *keeper) put(p link.Page, lend bool) {
	if int(p.Slot) == len(k.slots) {
		k.slots = append(k.slots, kept{own: k.pool.get()})
	}
	s := &k.slots[p.Slot]
	if s.own == nil {
		k.lent[s.to] = 0
	}
	to := uint64(p.Index)
	if lend = lend && k.lends(to) == 0; lend {
		if s.own != nil {
			k.pool.put(s.own)
		}
		s.own, s.to, k.lent[to] = nil, to, p.Slot+1
		return
	}
	if s.own == nil {
		s.own = k.pool.get()
	}
	copy(s.own[:], p.Data)
}

// lends is one more than the slot that is lent to a page of ram; 0: none.
func (k *keeper) lends(page uint64) uint32 {
	if k.lent == nil {
		k.lent = make([]uint32, k.d.blocks[k.d.ram.block].Pages())
	}
	return k.lent[page]
}

// preserve what slots hold that are lent to a page of ram, but for one of them: it is
// about to be overwritten. mu is held.
func (d *destination) preserve(page uint64, but *keeper, slot uint32) error {
	for _, k := range d.keepers {
		lent := k.lends(page)
		if lent == 0 || k == but && lent == slot+1 {
			continue
		}
		s := &k.slots[lent-1]
		s.own = k.pool.get()
		k.lent[page] = 0
		if err := d.ram.flush(); err != nil {
			return err
		}
		if err := d.ram.read(page*stream.PageSize, s.own[:]); err != nil {
			return err
		}
	}
	return nil
}
