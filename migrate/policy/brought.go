package policy

import "time"

// Brought is what one pass over the guest's memory brought, in pages.
type Brought struct {
	Arrived int
	Fresh   int // of them: those that were not pending
	Steady  int // of these: those that the pass before brought, too
	// SentSteady of the pages that two passes in a row have brought have been sent
	// since: only they can come anew, beside what is pending.
	SentSteady int
	// Rate at which the guest dirties pages that are not steady, smoothed; one quiet
	// pass is no reason to expect a quiet stop.
	Rate DirtyRate
}

// DirtyRate is in pages per second, by exponential smoothing over the passes.
type DirtyRate float64

// dirtySmoothing is the weight of the newest pass.
const dirtySmoothing = 0.3

// Add a pass that brought what was dirtied during before; the bulk has none.
func (r DirtyRate) Add(b Brought, before time.Duration) DirtyRate {
	if before <= 0 {
		return r
	}
	measured := DirtyRate(float64(b.Fresh-b.Steady) / before.Seconds())
	if r == 0 {
		return measured
	}
	// The conversion forbids a fused multiply-add: the same figures everywhere.
	return r + DirtyRate(dirtySmoothing*(measured-r))
}

// Add counts a page that arrived; pending is whether it was, before.
func (b *Brought) Add(p Page, pending bool) {
	b.Arrived++
	if pending {
		return
	}
	b.Fresh++
	if p.Streak > 1 {
		b.Steady++
	}
}

// LastLook estimates, in pages, what a stop would bring beside what is pending.
// The pass brought what was dirtied during before; the stop brings what is
// dirtied during elapsed, from the pass's start to the stop. Pages that come
// pass after pass are counted in full if they have been sent, since a hot set is
// as large after a short time as after a long one; the others by the time and by
// the larger of the last pass's rate and the smoothed one. Where elapsed is the longer, any page that arrived may come anew in the
// rest of it.
func (b Brought) LastLook(before, elapsed time.Duration) int64 {
	if before <= 0 {
		return int64(b.Fresh)
	}
	share := float64(elapsed) / float64(before)
	if share <= 1 {
		steady := max(float64(min(b.Steady, b.SentSteady)), float64(b.Steady)*share)
		return int64(steady + max(float64(b.Fresh-b.Steady)*share, float64(b.Rate)*elapsed.Seconds()))
	}
	return int64(b.Fresh) + int64(float64(b.Arrived)*(share-1))
}
