package pages

import "math"

// resent is what is queued and was sent before: how much the link has to do for it
// says what may be let go.
type resent struct{ pages, shares int }

func (r *resent) waits(counted *uint8, share int) {
	r.leaves(counted)
	*counted = uint8(min(share, math.MaxUint8))
	r.pages, r.shares = r.pages+1, r.shares+int(*counted)
}

func (r *resent) leaves(counted *uint8) {
	if *counted > 0 {
		r.pages, r.shares, *counted = r.pages-1, r.shares-int(*counted), 0
	}
}
