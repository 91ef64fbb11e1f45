package replay

import (
	"math/bits"
	"time"
)

// memory is the traced guest: its contents and its dirty bitmap.
type memory struct {
	trace   Trace
	content []content
	dirty   []uint64
	written uint32        // numbers contents
	next    int           // pass of the trace that comes next
	offset  time.Duration // of its times: the trace has begun again
}

// content of a page: a page has the same content as before if the number is the
// same; 0 is zero.
type content struct {
	number uint32
	packed uint16 // bytes when compressed
}

// newMemory has the bulk in it, all dirty.
func newMemory(t Trace) *memory {
	m := &memory{trace: t, content: make([]content, t.Pages), dirty: make([]uint64, (t.Pages+63)/64)}
	m.write(t.Passes[0])
	for page := range t.Pages {
		m.dirty[page/64] |= 1 << (page % 64)
	}
	m.next = 1
	return m
}

func (m *memory) write(p Pass) {
	for _, r := range p.Spans {
		for page := r.First; page < r.First+r.Count; page++ {
			m.dirty[page/64] |= 1 << (page % 64)
			switch c := &m.content[page]; r.Class {
			case Unchanged:
			case Zero:
				*c = content{}
			default:
				m.written++
				*c = content{m.written, uint16(r.Class.Bytes())}
			}
		}
	}
}

// runTo lets the guest run until now. Behind the end of the trace the first
// pass after the bulk comes one step after the last.
func (m *memory) runTo(now time.Duration) {
	last := len(m.trace.Passes) - 1
	for last > 0 && m.offset+m.trace.Passes[m.next].At <= now {
		m.write(m.trace.Passes[m.next])
		if m.next++; m.next > last {
			m.offset += m.trace.Passes[last].At - m.trace.Passes[0].At
			m.next = 1
		}
	}
}

// take is QEMU's look at the bitmap: what is dirty, and clears it.
func (m *memory) take(pages []uint32) []uint32 {
	pages = pages[:0]
	for i, word := range m.dirty {
		for ; word != 0; word &= word - 1 {
			pages = append(pages, uint32(64*i+bits.TrailingZeros64(word)))
		}
		m.dirty[i] = 0
	}
	return pages
}
