package pair

import (
	"testing"
	"time"

	"bumpless/appliance/testbed"
)

func TestBlackoutEndsWithTheFirstFrameAfterThePause(t *testing.T) {
	zero := time.Unix(1000, 0)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	// A frame every 10 ms, but for the pause; then a gap of 400 ms of the guest's
	// own, long after.
	sight := func(to string, pauseMs int) (seen testbed.Sightings) {
		for ms := 0; ms <= 1000; ms += 10 {
			seen = append(seen, testbed.Sighting{At: at(ms), Source: "src"})
		}
		for ms := 1000 + pauseMs; ms < 3000; ms += 10 {
			seen = append(seen, testbed.Sighting{At: at(ms), Source: to})
		}
		return append(seen, testbed.Sighting{At: at(3400), Source: to})
	}
	for _, c := range []struct {
		name    string
		to      string
		pauseMs int
		end     time.Time // as the hypervisor told it
		wantMs  int
	}{
		{"moved", "dst", 200, at(1195), 190},
		{"rolled back, running again 5 ms before its next frame", "src", 280, at(1275), 270},
		{"refused, never stopped", "src", 10, at(1500), 0},
	} {
		want := time.Duration(c.wantMs) * time.Millisecond
		if got := blackout(sight(c.to, c.pauseMs), "src", c.end, 10*time.Millisecond); got != want {
			t.Errorf("%s: blackout() = %v; want %v", c.name, got, want)
		}
	}
}
