package pages

import (
	"slices"

	"bumpless/migrate/policy"
)

// countSteady notes that a page is being sent that came in two passes in a row.
func (t *Table[Tag]) countSteady(p policy.Page) {
	switch {
	case p.Streak < 2:
	case p.LastPass == t.pass:
		t.sentSteady++
	case p.LastPass+1 == t.pass:
		t.lastSentSteady++
	}
}

// SentSteady of the pages that the last pass and the one before brought: see
// policy.Brought.
func (t *Table[Tag]) SentSteady() int { return t.lastSentSteady }

// Pass that is going on, from 1.
func (t *Table[Tag]) Pass() uint32 { return t.pass }

// Pages of the guest.
func (t *Table[Tag]) Pages() int { return len(t.entries) }

// Seen pages: those that have arrived.
func (t *Table[Tag]) Seen() int { return t.seen }

// Pending contents: a page of zeros, and one that was dropped while it was
// queued, count for nothing.
func (t *Table[Tag]) Pending() int { return t.pending }

// Held pages, whatever they hold.
func (t *Table[Tag]) Held() int { return t.held }

// Queued pages, those that were dropped meanwhile counted.
func (t *Table[Tag]) Queued() int { return t.queue.length }

// Stopped tells whether everything was let go.
func (t *Table[Tag]) Stopped() bool { return t.stopped }

// Sixteenths of a page are the unit in which shares of it are counted.
const Sixteenths = 16

// Learn what a page's content took on the link, in sixteenths of a page: it is
// expected to take that again. 0: not known. The page may be pending again.
func (t *Table[Tag]) Learn(at int, share uint8) {
	if share == 0 {
		return
	}
	e := &t.entries[at]
	if e.content {
		t.expects(e, false)
		defer t.expects(e, true)
	}
	e.share, e.again = share, e.version > 1
}

func (e *entry[Tag]) expected() int {
	if e.share == 0 {
		return Sixteenths
	}
	return int(e.share)
}

// Ratio that what is pending, and the pages that the last pass brought anew, are
// expected to be compressed to.
func (t *Table[Tag]) Ratio(fresh int) float64 {
	if t.pending+fresh == 0 {
		return 1
	}
	return (float64(t.shares+t.lastFreshShares) + t.guess.shares()) / float64(Sixteenths*(t.pending+fresh))
}

// Waiting are the pages that are held or queued, in no order; some more than once.
// None before the bulk has been sent: it may be all of the guest's.
func (t *Table[Tag]) Waiting() []int {
	if !t.BulkSent() {
		return nil
	}
	list := t.queue.all()
	for _, at := range t.waiting {
		if t.entries[at].state == held {
			list = append(list, at)
		}
	}
	return list
}

// regionGap: pages with no more than so many between them are one region.
const regionGap = 16

// Regions that pages lie in; it sorts them.
func Regions(pages []int) (n int) {
	slices.Sort(pages)
	for i, at := range pages {
		if i == 0 || at-pages[i-1] > regionGap {
			n++
		}
	}
	return n
}
