package replay

import (
	"testing"
	"time"

	"bumpless/migrate/policy"
)

// What the published algorithms save over precopy, each on a load that suits it.
func TestEachPublishedPolicySavesOverPrecopyOnALoadThatSuitsIt(t *testing.T) {
	for _, c := range []struct {
		policy, trace string
		mbits         int64
		budget        time.Duration
		saves         int64 // percent of precopy's bytes, at least
		why           string
	}{
		{"layered", "ring", 200, time.Second, 10, "each page of a ring is warm: it is sent when the link has time"},
		{"delayed", "hot48", 200, 300 * time.Millisecond, 30, "what is rewritten in each pass is not sent in each pass"},
		{"ar", "ring", 200, time.Second, 8, "the next write of a ring's page is known"},
		{"memory-pattern", "hot48", 200, 300 * time.Millisecond, 60, "a hopeless move ends at once"},
	} {
		s := settings(c.mbits*1e6, c.budget)
		precopy, ours := figuresOf(t, c.trace, "precopy", s), figuresOf(t, c.trace, c.policy, s)
		if saved := 100 - 100*ours.LinkBytes/precopy.LinkBytes; saved < c.saves {
			t.Errorf("%s saves %d %% of precopy's %d bytes on %s; want %d %%: %s", c.policy, saved, precopy.LinkBytes, c.trace, c.saves, c.why)
		}
	}
}

func TestMemoryPatternRefusesWhatIsHopelessWithinTwiceTheFirstPass(t *testing.T) {
	for _, trace := range []string{"hot16", "hot48"} {
		f := figuresOf(t, trace, "memory-pattern", settings(200e6, 300*time.Millisecond))
		if f.Outcome != Refused || f.Total > 2*f.FirstPass {
			t.Errorf("%s: %s after %v; want refused within twice %v", trace, f.Outcome, f.Total, f.FirstPass)
		}
	}
}

// The default is the best of all on each trace and link: it moves whatever any
// other one moves, with fewer bytes than precopy, and refuses as early as it is
// promised.
func TestTheDefaultMovesWhatAnyOtherMoves(t *testing.T) {
	for _, name := range traces {
		for _, s := range []Settings{settings(200e6, 300*time.Millisecond), settings(200e6, time.Second), settings(1e9, 300*time.Millisecond)} {
			ours := figuresOf(t, name, "bumpless", s)
			precopy := figuresOf(t, name, "precopy", s)
			// What is rolled back has saved bytes by doing half of the work.
			if precopy.Outcome != RolledBack && 5*ours.LinkBytes > 4*precopy.LinkBytes {
				t.Errorf("%s at %d bits/s: %d bytes; want at most four fifths of precopy's %d", name, s.Link.BitsPerS, ours.LinkBytes, precopy.LinkBytes)
			}
			if ours.Outcome == Refused && ours.Total > 2*ours.FirstPass {
				t.Errorf("%s at %d bits/s: refused after %v; want within twice %v", name, s.Link.BitsPerS, ours.Total, ours.FirstPass)
			}
			for _, other := range policy.Names() {
				if f := figuresOf(t, name, other, s); f.Outcome == Moved && ours.Outcome != Moved {
					t.Errorf("%s at %d bits/s: %s by bumpless, moved by %s", name, s.Link.BitsPerS, ours.Outcome, other)
				}
			}
		}
	}
}

// What bumpless adds to holding: a hot set of which the link, while it idles, is sent what
// will stay as it is for longest is mostly there when the guest stops. The budgets are such
// that neither has to stop at the first moment that it allows.
func TestSendingAHotSetWhileTheLinkIdlesShortensThePause(t *testing.T) {
	for _, c := range []struct {
		trace  string
		budget time.Duration
		pause  time.Duration // percent of that of a hot set that is held until it is quiet
		bytes  int64         // percent
	}{{"ring16", time.Second, 60, 101}, {"bench-mix", time.Second, 50, 100}, {"bench-hot16", time.Second, 90, 90}} {
		s := settings(200e6, c.budget)
		sent, held := figuresOf(t, c.trace, "bumpless", s), figuresOf(t, c.trace, "bumpless/delayed", s)
		if sent.Outcome != Moved || 100*sent.Pause > c.pause*held.Pause || 100*sent.LinkBytes > c.bytes*held.LinkBytes {
			t.Errorf("%s: %s with %v and %d bytes, held %v and %d; want at most %d %% of the pause and %d %% of the bytes", c.trace,
				sent.Outcome, sent.Pause, sent.LinkBytes, held.Pause, held.LinkBytes, c.pause, c.bytes)
		}
	}
}

// What is written again before it has been sent once is not sent twice.
func TestReadingAheadSavesWhatIsWrittenDuringTheFirstPass(t *testing.T) {
	for _, c := range []struct {
		trace string
		mbits int64
		saves int64 // percent of the bytes, at least
	}{{"bench-hot16", 200, 15}, {"bench-hot48", 1000, 5}, {"bench-mix", 200, 5}, {"bench-redis", 200, 5}} {
		s := settings(c.mbits*1e6, time.Second)
		ahead, behind := figuresOf(t, c.trace, "bumpless", s), figuresOf(t, c.trace, "bumpless/"+inOrderName, s)
		if saved := 100 - 100*ahead.LinkBytes/behind.LinkBytes; saved < c.saves || ahead.Total > behind.Total {
			t.Errorf("%s at %d Mbit/s: %d %% of the bytes, %v for %v; want %d %%, and no more time", c.trace, c.mbits, saved, ahead.Total, behind.Total, c.saves)
		}
	}
}

// An estimate that is too small stops the guest for nothing.
func TestNoPolicyStopsAGuestOnlyToRollBack(t *testing.T) {
	for _, l := range Loads() {
		trace := l.Trace(2, 20*time.Second)
		for _, name := range policy.Names() {
			for _, mbits := range []int64{100, 400} {
				for _, budget := range []time.Duration{300 * time.Millisecond, time.Second} {
					f := figures(t, trace, name, settings(mbits*1e6, budget))
					if f.Outcome == RolledBack {
						t.Errorf("%s at %d Mbit/s, budget %v, by %s: estimate %v, rolled back", l.Name, mbits, budget, name, f.Estimate)
					}
				}
			}
		}
	}
}
