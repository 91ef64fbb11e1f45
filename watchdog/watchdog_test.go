package watchdog

import (
	"strings"
	"testing"
	"time"
)

func TestThePetNeedsAValidFreshOrderAndLiveParts(t *testing.T) {
	const s = time.Second
	p := Policy{OrderAge: s, BeatAge: map[string]time.Duration{"observer": 2 * s, "log": 3 * s}}
	alive := map[string]time.Duration{"observer": 9 * s, "log": 8 * s}
	for _, c := range []struct {
		what  string
		order Order
		beats map[string]time.Duration
		why   string // "": it is petted
	}{
		{"all is well", Order{Pet: true, At: 10 * s}, alive, ""},
		{"within its limit", Order{Pet: true, At: 10 * s, NotAfter: 10 * s}, alive, ""},
		{"withheld", Order{Why: "no lease", At: 10 * s}, alive, "no lease"},
		{"limit passed", Order{Pet: true, At: 10 * s, NotAfter: 10*s - 1}, alive, "has ended"},
		{"stale order", Order{Pet: true, At: 9*s - 1}, alive, "loop hangs"},
		{"dead observer", Order{Pet: true, At: 10 * s}, map[string]time.Duration{"observer": 8*s - 1, "log": 10 * s}, "observer"},
		{"a part that never spoke", Order{Pet: true, At: 10 * s}, map[string]time.Duration{"observer": 10 * s}, "log"},
	} {
		d := p.Decide(10*s, c.order, c.beats)
		if d.Pet != (c.why == "") || !strings.Contains(d.Why, c.why) {
			t.Errorf("%s: Decide() = %+v; want why %q", c.what, d, c.why)
		}
	}
}

func TestDisarmingIsRefusedWhileGuestsRun(t *testing.T) {
	if MayDisarm(1) == nil || MayDisarm(0) != nil {
		t.Error("MayDisarm must refuse with a guest and allow without one")
	}
}
