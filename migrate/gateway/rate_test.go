package gateway

import (
	"math"
	"testing"
	"time"
)

func TestTheRateIsLearntWhileTheLinkIsBusy(t *testing.T) {
	type window struct {
		ms        int
		bytes     int64
		saturated bool
	}
	for _, c := range []struct {
		name    string
		windows []window
		want    float64 // bytes per second
	}{
		{"nothing yet", nil, 0},
		{"a first window", []window{{100, 1e6, true}}, 10e6},
		{"idle windows say nothing", []window{{100, 1e6, true}, {100, 0, false}, {100, 10, false}}, 10e6},
		{"a busy link that became slower", []window{{100, 1e6, true}, {100, 5e5, true}}, 8.5e6},
		{"a late window is as long as it was", []window{{100, 1e6, true}, {300, 3e6, true}}, 10e6},
		{"more than was thought", []window{{100, 1e6, false}, {100, 2e6, false}}, 20e6},
	} {
		var r rate
		now, wire := time.Now(), int64(0)
		r.sample(now, 0, false)
		for _, w := range c.windows {
			now, wire = now.Add(time.Duration(w.ms)*time.Millisecond), wire+w.bytes
			r.sample(now, wire, w.saturated)
		}
		if got := r.bytesPerS(); math.Abs(got-c.want) > 1 {
			t.Errorf("%s: %.0f bytes/s; want %.0f", c.name, got, c.want)
		}
	}
}
