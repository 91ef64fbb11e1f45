package policy

import (
	"strings"
	"testing"
	"time"
)

// passesOf feeds memory-pattern with what each pass dirtied, in MB, of which all
// is pending; the bulk comes first. The link carries 12.5 MB/s, a pass takes
// 200 ms, so that 1.25 MB a pass make a guest memory-intensive; 250 ms less the
// fixed 25 are 2.8 MB.
func passesOf(mp *memoryPattern, dirtied ...float64) (d Decision, pass int) {
	for i, mb := range dirtied {
		s := base()
		s.Pass, s.Dirtying = uint32(i+1), 200*ms
		s.ArrivedBytes = int64(mb * 1e6)
		s.PendingBytes = s.ArrivedBytes
		if d = mp.Decide(s); d.Verdict != Wait {
			return d, i + 1
		}
	}
	return d, len(dirtied)
}

func TestAMemoryIntensiveGuestIsDecidedOnAtOnce(t *testing.T) {
	for _, c := range []struct {
		name    string
		dirtied []float64 // MB, by pass
		verdict Verdict
		pass    int
		phase   patternPhase
	}{
		{"nothing is known before the third pass", []float64{400, 20}, Wait, 2, watching},
		{"too much for the budget: refused", []float64{400, 20, 9}, Refuse, 3, intensive},
		{"within the budget: stopped early", []float64{400, 20, 2.5}, Switch, 3, intensive},
		{"a calm guest", []float64{400, 20, 0.5}, Switch, 3, calm},
	} {
		mp := &memoryPattern{}
		d, pass := passesOf(mp, c.dirtied...)
		if d.Verdict != c.verdict || pass != c.pass || mp.phase != c.phase {
			t.Errorf("%s: verdict %d in pass %d, phase %d; want %d, %d, %d", c.name, d.Verdict, pass, mp.phase, c.verdict, c.pass, c.phase)
		}
		if c.verdict == Refuse && !strings.Contains(d.Reason, "needs ") {
			t.Errorf("%s: %q; want what would help", c.name, d.Reason)
		}
	}
}

// Much is pending from the bulk's time, little is dirtied anew: that is sent.
func TestAGuestWithMuchPendingIsNotHopeless(t *testing.T) {
	mp := &memoryPattern{}
	for pass := range uint32(5) {
		s := base()
		s.Pass, s.Dirtying, s.ArrivedBytes, s.PendingBytes = pass+1, 200*ms, 2_000_000, 20_000_000
		if d := mp.Decide(s); d.Verdict != Wait {
			t.Fatalf("pass %d: verdict %d; want Wait", pass+1, d.Verdict)
		}
	}
}

func TestMemoryPatternHoldsByItsPhase(t *testing.T) {
	streak, once := dirtied(4, 5), dirtied(5)
	for _, c := range []struct {
		phase                patternPhase
		pass                 uint32
		page                 Page
		hold, release, later bool // released in the next pass, and in the one after
	}{
		{watching, 1, dirtied(), false, false, false},
		{watching, 5, once, true, false, false},
		{calm, 5, streak, false, true, true},
		{intensive, 5, once, false, false, true},
		{intensive, 5, streak, true, false, true},
	} {
		mp := &memoryPattern{phase: c.phase}
		if got := mp.Hold(c.page, busy(c.pass)); got != c.hold {
			t.Errorf("phase %d: Hold(%+v) = %v; want %v", c.phase, c.page, got, c.hold)
		}
		if got := mp.Release(c.page, busy(c.page.LastPass+1)); got != c.release {
			t.Errorf("phase %d: Release(%+v) = %v; want %v", c.phase, c.page, got, c.release)
		}
		if got := mp.Release(c.page, busy(c.page.LastPass+2)); got != c.later {
			t.Errorf("phase %d: Release(%+v, a pass later) = %v; want %v", c.phase, c.page, got, c.later)
		}
	}
}

func TestAnUnmeasuredLinkIsNoReasonToRefuse(t *testing.T) {
	mp := &memoryPattern{}
	for pass := range uint32(10) {
		s := Situation{Pass: pass + 1, AllSentOnce: true, Dirtying: 200 * ms, ArrivedBytes: 1 << 30, Ratio: 1, Budget: time.Second}
		if d := mp.Decide(s); d.Verdict != Wait {
			t.Fatalf("pass %d: verdict %d; want Wait", pass+1, d.Verdict)
		}
	}
}
