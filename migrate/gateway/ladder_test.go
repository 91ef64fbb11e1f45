package gateway

import (
	"testing"
	"time"

	"bumpless/migrate/link"
)

// compressor speeds in MB/s and ratios of this test, from the table in link.
var rungs = map[link.Effort]struct{ mbPerS, ratio float64 }{
	link.Thorough: {160, .577}, link.Usual: {360, .595}, link.Quick: {490, .626}, link.Hasty: {700, .714}, link.None: {1e9, 1},
}

func TestTheEffortFollowsTheLink(t *testing.T) {
	for _, c := range []struct {
		mbitPerS float64
		cpu      float64 // speed of the core, 1: as measured
		want     link.Effort
	}{
		{100, 1, link.Thorough}, {200, 1, link.Thorough}, {1000, 1, link.Usual}, {10_000, 1, link.None},
		{200, .25, link.Usual}, {1000, .25, link.Hasty}, {2500, 1, link.Quick}, {100_000, 1, link.None},
	} {
		for _, senders := range []int{1, 2, 4} {
			l := newLadder()
			changes := 0
			for batch := range 16_000 { // 1 GiB
				was := l.now()
				r := rungs[was]
				const content = 64 << 10
				compressing := content / (r.mbPerS * c.cpu) / 1e6
				writing := content * r.ratio / (c.mbitPerS / 8) / 1e6
				// Compressing one batch and writing another go on at once.
				busy := max(compressing, writing) * float64(senders)
				seconds := func(s float64) time.Duration { return time.Duration(s * 1e9) }
				if l.sent(senders, content, int(content*r.ratio), seconds(compressing), seconds(busy), writing > compressing); batch > 8000 && l.now() != was {
					changes++
				}
			}
			if got := l.now(); got != c.want || changes > 2 {
				t.Errorf("%.0f Mbit/s, core %.2f, %d senders: effort %d, %d late changes; want %d, at most one vain trial", c.mbitPerS, c.cpu, senders, got, changes, c.want)
			}
		}
	}
}

// Memory that does not compress is soon through a compressor, however slow the rung
// would be for what does: that says nothing of the link.
func TestTheSlowestRungIsForSlowLinksOnly(t *testing.T) {
	for _, c := range []struct {
		mbitPerS float64
		want     link.Effort
	}{{200, link.Thorough}, {1000, link.Usual}} {
		l := newLadder()
		for range 4000 {
			const content = 64 << 10
			writing := time.Duration(content / (c.mbitPerS / 8) / 1e6 * 1e9)
			l.sent(1, content, content, writing/10, writing, true)
		}
		if got := l.now(); got != c.want {
			t.Errorf("%.0f Mbit/s of what does not compress: effort %d; want %d", c.mbitPerS, got, c.want)
		}
	}
}

func TestASmallGuestOverAFastLinkIsCompressedAllTheSame(t *testing.T) {
	l := newLadder()
	for range 30 << 4 { // 30 MiB, all the time in the compressor
		l.sent(1, 64<<10, 40<<10, time.Millisecond, time.Millisecond, false)
	}
	if l.now() != link.Usual {
		t.Errorf("effort %d after 30 MiB; want %d", l.now(), link.Usual)
	}
}

func TestALittleSaysNothingAboutTheLink(t *testing.T) {
	l := newLadder()
	for range 15 {
		l.sent(1, 64<<10, 40<<10, time.Microsecond, time.Millisecond, true)
	}
	if l.now() != link.Usual {
		t.Errorf("effort %d after less than a window; want %d", l.now(), link.Usual)
	}
}

// Where guests take the CPU time, all takes long, and the link waits for the gateway.
func TestAGatewayThatIsShortOfCPUDoesNotCompressHarder(t *testing.T) {
	l := newLadder()
	sent := func(batches int, behind bool) link.Effort {
		for range batches {
			l.sent(1, 64<<10, 20<<10, 200*time.Microsecond, 2*time.Millisecond, behind)
		}
		return l.now()
	}
	for _, c := range []struct {
		behind bool
		want   link.Effort
	}{{false, link.Usual}, {true, link.Thorough}, {false, link.Usual}} {
		if got := sent(64, c.behind); got != c.want {
			t.Errorf("behind %v: effort %d; want %d", c.behind, got, c.want)
		}
	}
}

// A faster rung is for a compressor that is slow all the time.
func TestWindowsInBetweenThatAreNotSlowCountForNothing(t *testing.T) {
	l := newLadder()
	for batch := range 200 << 4 {
		busy := time.Millisecond
		if batch>>4%2 == 0 {
			busy *= 3
		}
		l.sent(1, 64<<10, 40<<10, time.Millisecond, busy, false)
	}
	if l.now() != link.Usual {
		t.Errorf("effort %d after windows of which every other one was slow; want %d", l.now(), link.Usual)
	}
}
