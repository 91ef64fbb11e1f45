package policy

import (
	"testing"
	"time"
)

func TestThePredictedTimeUntilAPagesNextWrite(t *testing.T) {
	at := func(writes ...time.Duration) (p Page) {
		p = p.Touch(1, 0) // the bulk
		for i, w := range writes {
			p = p.Touch(uint32(i+2), w)
		}
		return p
	}
	for _, c := range []struct {
		name  string
		page  Page
		now   time.Duration
		quiet time.Duration
	}{
		{"written every 500 ms, just now", at(500*ms, 1000*ms, 1500*ms), 1500 * ms, 500 * ms},
		{"400 ms ago", at(500*ms, 1000*ms, 1500*ms), 1900 * ms, 100 * ms},
		{"overdue by 200 ms", at(500*ms, 1000*ms, 1500*ms), 2200 * ms, 200 * ms},
		{"written once, just now", at(900 * ms), 900 * ms, 900 * ms},
		{"written once, long ago", at(100 * ms), 900 * ms, 100 * ms},
	} {
		if got := UntilWrite(c.page, c.now); got != c.quiet {
			t.Errorf("%s: UntilWrite() = %v; want %v", c.name, got, c.quiet)
		}
	}
}
