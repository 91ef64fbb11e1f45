package gateway

import (
	"math"

	"bumpless/migrate/link"
	"bumpless/migrate/pages"
)

// A batch may be of short pages alone, and a receiver takes no more of them.
const _ = uint(link.MaxShortPages - pages.BatchPages)

// batch of pages on their way to the link.
type batch struct {
	pages        []link.Page
	at           []int      // of each content that was taken, its page in the table
	contents     []leaving  // of the pages from shortened on
	unread       []unread   // those that are to be read
	shortened    int        // pages that slots have seen
	long         int        // of them, with their whole content
	room         int        // for so many of those
	spare        []*content // that are not needed once it is written
	behind       bool       // the link had not sent the one before it
	body, packed int        // bytes of it, and those that were written for them; 0: not known
}

// leaving is a content that leaves the table with a batch.
type leaving struct {
	*content
	hash contentHash
	bare bool // if it is sent for the first time it need not be kept
}

func (b *batch) reset() {
	*b = batch{pages: b.pages[:0], at: b.at[:0], contents: b.contents[:0], unread: b.unread[:0], spare: b.spare[:0]}
}

func (b *batch) full() bool { return b.long >= b.room || len(b.pages) >= pages.BatchPages }

func (b *batch) add(p link.Page, at int, c leaving) {
	b.pages, b.at, b.contents = append(b.pages, p), append(b.at, at), append(b.contents, c)
}

// shares of a page that the contents took on the link, in sixteenths: of what was
// written, each has the part that it has of the body.
func (b *batch) shares(learn func(at int, share uint8)) {
	if b.body == 0 {
		return
	}
	next := 0
	for _, p := range b.pages {
		if p.Kind == link.Zero || p.Kind == link.Zeros {
			continue
		}
		took := len(p.Data) * b.packed * pages.Sixteenths / b.body
		learn(b.at[next], uint8(min(max(1, (took+link.PageSize-1)/link.PageSize), math.MaxUint8)))
		next++
	}
}

// addZero adds a page of zeros to the run that it continues, if the destination
// knows of runs. Most of a guest's memory is in long ones.
func (b *batch) addZero(p link.Page, last link.Kind) {
	if n := len(b.pages); n > 0 && last >= link.Zeros {
		run := &b.pages[n-1]
		zero := run.Kind == link.Zero || run.Kind == link.Zeros
		if zero && run.Block == p.Block && run.Version == p.Version && run.More < math.MaxUint16 && run.Index+uint32(run.More)+1 == p.Index {
			run.Kind, run.More = link.Zeros, run.More+1
			return
		}
	}
	b.pages = append(b.pages, p)
}
