package gateway

import "time"

// busy tells whether the senders wait for the link, from whether a batch finds the
// kernel still busy with the one before: all of them do at 200 Mbit/s. At 1 Gbit/s,
// where what they mostly wait for is CPU time, bursts of a tenth of a second do.
type busy struct {
	since time.Time // the begin of the first of the windows in which it was; zero: it is not
	known bool      // a window is over

	began           time.Time // of this window
	batches, behind int
}

const (
	busyWindow = 32  // batches
	busyShare  = 0.8 // of them, that are behind
)

// add a batch that was written at now.
func (b *busy) add(behind bool, now time.Time) {
	if b.batches == 0 {
		b.began = now
	}
	b.batches++
	if behind {
		b.behind++
	}
	if b.batches < busyWindow {
		return
	}
	switch {
	case float64(b.behind) < busyShare*busyWindow:
		b.since = time.Time{}
	case b.since.IsZero():
		b.since = b.began
	}
	b.batches, b.behind, b.known = 0, 0, true
}
