package policy

import (
	"testing"
	"time"
)

func TestPassesComeOftenWhileTheyTakeLittle(t *testing.T) {
	for _, c := range []struct {
		setMs      int
		took, want time.Duration
	}{
		{200, 0, 50 * ms}, {200, 2 * ms, 50 * ms}, {200, 20 * ms, 50 * ms}, {200, 50 * ms, 100 * ms}, {200, time.Second, 200 * ms}, {20, 0, 20 * ms},
	} {
		if got := PassInterval(time.Duration(c.setMs)*ms, c.took); got != c.want {
			t.Errorf("PassInterval(%d ms, %v) = %v; want %v", c.setMs, c.took, got, c.want)
		}
	}
}

func TestAShortFirstPassIsReadInOrder(t *testing.T) {
	for _, c := range []struct {
		sinceMs, brought, all int
		want                  bool
	}{
		{150, 0, 100, false}, {300, 29, 100, false}, {300, 30, 100, true},
		{600, 59, 100, false}, {600, 60, 100, true}, {1001, 99, 100, false}, {1001, 100, 100, true},
		{1 << 40, 99, 100, false}, {999, 1 << 28, 1<<28 + 1, true},
	} {
		since := time.Duration(c.sinceMs) * ms
		if got := InOrder(since, c.brought, c.all, since); got != c.want {
			t.Errorf("InOrder(%d ms, %d of %d) = %v; want %v", c.sinceMs, c.brought, c.all, got, c.want)
		}
		for _, busy := range []time.Duration{0, 149 * ms} {
			if !InOrder(since, c.brought, c.all, busy) {
				t.Errorf("InOrder(%d ms, %d of %d) = false where the link has been busy for %v", c.sinceMs, c.brought, c.all, busy)
			}
		}
	}
}
