package gateway

import (
	"slices"

	"bumpless/migrate/stream"
)

// load is a snapshot for estimates.
type load struct {
	// contentBytes of all pages that are held or queued: a page of zeros, and
	// one that was dropped while it was queued, count for nothing.
	contentBytes int64
	heldBytes    int64   // of held pages, whatever they hold
	ratio        float64 // that it, and what the last pass brought, is expected to compress to
	sending      int     // batches
	sentSteady   int     // of what the last pass brought: see policy.Brought
	regions      int
}

// expectedRatio of what is pending and what the last pass brought anew.
func (t *table) expectedRatio(fresh int) float64 {
	if t.pending+fresh == 0 {
		return 1
	}
	return float64(t.shares+t.lastFreshShares) / float64(sixteenths*(t.pending+fresh))
}

func (l load) queuedBytes() int64 { return max(0, l.contentBytes-l.heldBytes) }

// regionGap: pending pages with fewer pages than this between them are one
// region.
const regionGap = 16

// load after a pass that brought fresh pages.
func (t *table) load(fresh int) load {
	t.mu.Lock()
	l := load{contentBytes: int64(t.pending) * stream.PageSize, heldBytes: int64(t.heldPages) * stream.PageSize, sending: t.sending,
		ratio: t.expectedRatio(fresh), sentSteady: t.lastSentSteady}
	pages := t.queue.all()
	for _, at := range t.waiting {
		if t.entries[at].state == held {
			pages = append(pages, at)
		}
	}
	t.mu.Unlock()
	slices.Sort(pages)
	last := -regionGap - 1
	for _, at := range pages {
		if at-last > regionGap {
			l.regions++
		}
		last = at
	}
	return l
}

// sixteenths of a page: the unit of entry.share.
const sixteenths = 16

func (e *entry) expected() int {
	if e.share == 0 {
		return sixteenths
	}
	return int(e.share)
}

// learn what a page took on the link. It may be pending again.
func (t *table) learn(e *entry, share uint8) {
	if share == 0 {
		return
	}
	if e.data != nil {
		t.shares += int(share) - e.expected()
	}
	e.share = share
}
