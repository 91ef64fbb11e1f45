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
		{200, 0, 50 * ms}, {200, 2 * ms, 50 * ms}, {200, 20 * ms, 100 * ms}, {200, 50 * ms, 200 * ms}, {200, time.Second, 200 * ms}, {20, 0, 20 * ms},
	} {
		if got := PassInterval(time.Duration(c.setMs)*ms, c.took); got != c.want {
			t.Errorf("PassInterval(%d ms, %v) = %v; want %v", c.setMs, c.took, got, c.want)
		}
	}
}

func TestPassesAreRareWhileMuchOfTheBulkIsLeft(t *testing.T) {
	for _, c := range []struct{ left, want time.Duration }{{0, 50 * ms}, {80 * ms, 50 * ms}, {300 * ms, 150 * ms}, {5 * time.Second, 200 * ms}} {
		if got := BulkInterval(200*ms, c.left); got != c.want {
			t.Errorf("BulkInterval(200 ms, %v) = %v; want %v", c.left, got, c.want)
		}
	}
}
