package gateway

import (
	"bumpless/migrate/pages"
	"bumpless/migrate/stream"
)

// load is a snapshot for estimates.
type load struct {
	// contentBytes of all pages that are held or queued: a page of zeros, and
	// one that was dropped while it was queued, count for nothing.
	contentBytes int64
	heldBytes    int64   // of held pages, whatever they hold
	ratio        float64 // that it, and what the last pass brought, is expected to compress to
	leavingBytes int64   // of contents that are being written, at most
	sentSteady   int     // of what the last pass brought: see policy.Brought
	regions      int     // 0 while the bulk is being sent
}

func (l load) queuedBytes() int64 { return max(0, l.contentBytes-l.heldBytes) }

// load after a pass that brought fresh pages.
func (t *table) load(fresh int) load {
	t.mu.Lock()
	l := load{contentBytes: int64(t.pages.Pending()) * stream.PageSize, heldBytes: int64(t.pages.Held()) * stream.PageSize, leavingBytes: int64(t.leaving) * stream.PageSize,
		ratio: t.pages.Ratio(fresh), sentSteady: t.pages.SentSteady()}
	waiting := t.pages.Waiting()
	t.mu.Unlock()
	l.regions = pages.Regions(waiting)
	return l
}
