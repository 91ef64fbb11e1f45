package gateway

import (
	"testing"
	"time"
)

// A link is busy from the first on of the windows in which most batches waited for it.
func TestALinkIsBusyWhileMostBatchesWaitForIt(t *testing.T) {
	for _, c := range []struct {
		name    string
		behind  []int // in so many windows
		windows int   // for which it has been busy; 0: it is not
	}{
		{"no window is over", nil, 0},
		{"never", []int{0, 0}, 0},
		{"its first batches find room", []int{16, 32, 32}, 2},
		{"always", []int{32, 26, 32}, 3},
		{"too few of them", []int{32, 25}, 0},
		{"a burst that is over", []int{32, 32, 32, 0}, 0},
		{"and another", []int{32, 0, 32}, 1},
	} {
		var b busy
		at := time.Unix(1000, 0)
		for _, behind := range c.behind {
			for i := range busyWindow {
				b.add(i < behind, at)
				at = at.Add(time.Millisecond)
			}
		}
		windows := 0
		if !b.since.IsZero() {
			windows = int(at.Sub(b.since) / (busyWindow * time.Millisecond))
		}
		if windows != c.windows || b.known != (len(c.behind) > 0) {
			t.Errorf("%s: busy for %d windows, known: %v; want %d", c.name, windows, b.known, c.windows)
		}
	}
}
