package policy

import (
	"testing"
	"time"
)

func TestWhatIsKeptUntilAGuestIsHeardIsTheSecondLargestOfFive(t *testing.T) {
	for _, c := range []struct {
		name     string
		measured []int
		standard int
		want     int
	}{
		{"nothing was measured", nil, 20, 20},
		{"once: it may have been a moment", []int{900}, 20, 20},
		{"twice", []int{90, 110}, 20, 90},
		{"less than the site says, but not often enough", []int{3, 4, 3}, 20, 20},
		{"less than the site says", []int{3, 4, 3, 5}, 20, 5},
		{"one of five", []int{100, 110, 900, 105, 90}, 0, 110},
		{"two of five", []int{100, 800, 900, 105, 90}, 0, 800},
		{"long ago", []int{900, 900, 900, 10, 20, 30, 40, 50}, 0, 40},
		{"heard before it was said to run", []int{0, 0, 0, 0, 0}, 20, 1},
	} {
		var w Waking
		for _, ms := range c.measured {
			w = w.Add(ms)
		}
		if got := w.Keep(c.standard); got != c.want {
			t.Errorf("%s: %v keeps %d ms; want %d", c.name, c.measured, got, c.want)
		}
	}
}

func TestWhatIsKeptUntilAGuestIsHeardIsNotForItsStop(t *testing.T) {
	s := Situation{Pass: 3, AllSentOnce: true, LinkBytesPerS: 1e6, Ratio: 1, PendingBytes: 200_000, Budget: 300 * time.Millisecond, Margin: 30 * time.Millisecond}
	if d := (&precopy{}).Decide(s); d.Verdict != Switch {
		t.Fatalf("an estimate of %v with %v allowed: %v", s.Estimate(), s.Limit(), d)
	}
	s.Waking = 100 * time.Millisecond
	if d := (&precopy{}).Decide(s); d.Verdict == Switch || s.Limit() != 170e6 {
		t.Fatalf("an estimate of %v with %v allowed: %v", s.Estimate(), s.Limit(), d)
	}
	const want = "estimate 200 ms, budget 300 ms less 30 ms margin and 100 ms until the guest is heard: needs 1.2x the link, or a budget of 330 ms; hot set 0.2 MB in 0 regions"
	if got := refusal(s, s.Estimate()); got != want {
		t.Errorf("the refusal says %q; want %q", got, want)
	}
}
