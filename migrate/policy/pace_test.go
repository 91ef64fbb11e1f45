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
