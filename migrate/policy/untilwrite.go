package policy

import "time"

// untilWrite is the predicted time from now to the page's next write. A page whose
// predicted write did not come is expected to stay quiet for as long as it is overdue.
func untilWrite(p Page, now time.Duration) time.Duration {
	return (p.Gaps.Next() - (now - p.LastAt)).Abs()
}

// UntilWrite is untilWrite where the page's intervals are known. One that was modified
// once is taken to be written every now: of those the last to be written stays quiet for
// longest, as with a buffer that is written round and round.
func UntilWrite(p Page, now time.Duration) time.Duration {
	if p.Gaps.Next() == 0 {
		return p.LastAt
	}
	return untilWrite(p, now)
}
