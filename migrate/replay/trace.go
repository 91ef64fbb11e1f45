package replay

import (
	"fmt"
	"time"

	"bumpless/migrate/pages"
)

// PageSize in bytes.
const PageSize = pages.Size

// Class is what is known of a page's content.
type Class uint8

// Classes. Packed says in sixteenths of a page, rounded up, how long the content
// is when it is compressed.
const (
	Zero      Class = 0
	Unchanged Class = 1 // written, but equal to what it was
	packed    Class = 2 // packed+0 is one sixteenth, packed+15 incompressible
	maxClass  Class = packed + pages.Sixteenths - 1
)

// Packed is the class of a content that compresses to n bytes.
func Packed(n int) Class {
	s := (n + PageSize/pages.Sixteenths - 1) / (PageSize / pages.Sixteenths)
	return packed + Class(min(max(s, 1), pages.Sixteenths)-1)
}

// Bytes of the content when it is compressed; 0 for Zero and Unchanged.
func (c Class) Bytes() int64 {
	if c < packed {
		return 0
	}
	return int64(c-packed+1) * PageSize / pages.Sixteenths
}

// Span is a number of pages in a row of one class.
type Span struct {
	First uint32 // page
	Count uint32
	Class Class
}

// Pass is what the guest dirtied between the pass before and At, in the order
// of pages.
type Pass struct {
	At    time.Duration // since the bulk began; whole microseconds
	Spans []Span
}

// Trace of a guest. The first pass is the bulk: all pages that are not zero.
type Trace struct {
	Pages  uint32 // of the guest, all blocks in a row
	Passes []Pass
}

// Bounds of a trace: a guest of 64 GiB, an hour at ten passes a second.
const (
	MaxPages  = 1 << 24
	MaxPasses = 36_000
	maxPassAt = 24 * time.Hour
	// minLength of a trace that has more than its bulk, since it begins again.
	minLength = 100 * time.Millisecond
)

// Check says what is wrong with a trace, by pass and span.
func (t Trace) Check() error {
	if t.Pages == 0 || t.Pages > MaxPages {
		return fmt.Errorf("trace: %d pages, want 1 to %d", t.Pages, MaxPages)
	}
	if len(t.Passes) == 0 || len(t.Passes) > MaxPasses {
		return fmt.Errorf("trace: %d passes, want 1 to %d", len(t.Passes), MaxPasses)
	}
	var last time.Duration
	for i, p := range t.Passes {
		if p.At < last || p.At > maxPassAt || p.At%time.Microsecond != 0 {
			return fmt.Errorf("trace: pass %d at %v: want whole microseconds, from %v to %v", i, p.At, last, maxPassAt)
		}
		last = p.At
		if err := p.check(t.Pages); err != nil {
			return fmt.Errorf("trace: pass %d: %w", i, err)
		}
	}
	if length := last - t.Passes[0].At; len(t.Passes) > 1 && length < minLength {
		return fmt.Errorf("trace: it lasts %v, want %v or more", length, minLength)
	}
	return nil
}

func (p Pass) check(pages uint32) error {
	next := uint64(0)
	for i, r := range p.Spans {
		switch {
		case r.Count == 0:
			return fmt.Errorf("span %d is empty", i)
		case uint64(r.First) < next:
			return fmt.Errorf("span %d begins at page %d: want %d or more", i, r.First, next)
		case uint64(r.First)+uint64(r.Count) > uint64(pages):
			return fmt.Errorf("span %d: pages %d to %d: the guest has %d", i, r.First, uint64(r.First)+uint64(r.Count)-1, pages)
		case r.Class > maxClass:
			return fmt.Errorf("span %d has the unknown class %d", i, r.Class)
		}
		next = uint64(r.First) + uint64(r.Count)
	}
	return nil
}

// Add notes page, in the order of pages, and joins it to the span before it where
// it can.
func (p *Pass) Add(page uint32, c Class) {
	if n := len(p.Spans); n > 0 {
		if r := &p.Spans[n-1]; r.Class == c && r.First+r.Count == page {
			r.Count++
			return
		}
	}
	p.Spans = append(p.Spans, Span{page, 1, c})
}
