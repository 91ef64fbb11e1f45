package policy

import (
	"testing"
	"time"
)

// backlogged is a link that has work for so long.
func backlogged(pass uint32, backlog time.Duration) Moment {
	return Moment{Pass: pass, Now: time.Duration(pass) * 200 * ms, QueuedBytes: int64(backlog / ms * 10_000), Ratio: 1, LinkBytesPerS: 10e6, Interval: 200 * ms}
}

// holdCase is a page that arrives while the link has work for so long.
type holdCase struct {
	name    string
	page    Page
	backlog time.Duration
	hold    bool
}

func checkHolds(t *testing.T, name string, cases []holdCase) {
	t.Helper()
	for _, c := range cases {
		if got := newPolicy(t, name).Hold(c.page, backlogged(c.page.LastPass, c.backlog)); got != c.hold {
			t.Errorf("%s: Hold() = %v; want %v", c.name, got, c.hold)
		}
	}
}

func TestBumplessHoldsWhatIsWrittenAgain(t *testing.T) {
	writing := Page{}.Touch(1, 0).Touch(1, 0) // the guest is known to be writing there
	checkHolds(t, "bumpless", []holdCase{
		{"the bulk", dirtied(), time.Second, false},
		{"once, busy link", dirtied(5), 150 * ms, true},
		{"once, idle link", dirtied(5), 50 * ms, true},
		{"always, idle link", dirtied(2, 3, 4, 5), 50 * ms, true},
		{"in the first pass, busy link", writing, 150 * ms, true},
		{"in the first pass, idle link", writing, 50 * ms, false},
	})
}

func TestBumplessReleasesWhatIsNotWrittenBeforeTheNextPass(t *testing.T) {
	for _, c := range []struct {
		name    string
		page    Page // passes come every 200 ms, and the last was 200 ms ago
		release bool
	}{
		{"once", dirtied(5), true},
		{"every second pass", dirtied(3, 5, 7, 9), true},
		{"in every pass", dirtied(2, 3, 4, 5), false},
	} {
		p := newPolicy(t, "bumpless")
		if got := p.Release(c.page, backlogged(c.page.LastPass+1, 0)); got != c.release {
			t.Errorf("written %s: Release() = %v; want %v", c.name, got, c.release)
		}
	}
}

// A move must not be given up because an estimate is noisy, nor go on because
// it is.
func TestBumplessSeesThroughTheNoiseOfItsEstimate(t *testing.T) {
	noisy := func(fallPerS int) (list []int) {
		for i := range 60 {
			list = append(list, 1500-i*fallPerS/10+30*(i*7%5-2)) // within 60 ms
		}
		return list
	}
	if d, pass := after(t, "bumpless", noisy(300), nil); d.Verdict != Switch {
		t.Errorf("an estimate that falls by 0.3 of the time: verdict %d in pass %d; want Switch", d.Verdict, pass)
	}
	if d, pass := after(t, "bumpless", noisy(0), nil); d.Verdict != Refuse || pass > 12 {
		t.Errorf("an estimate that does not fall: verdict %d in pass %d; want Refuse in the 12th at the latest", d.Verdict, pass)
	}
}

// A move that was refused only after 3.3 s, since its estimate came down by an
// eighth of the time, with dips: at that pace it would not have been moved soon.
func TestBumplessRefusesWhatComesDownTooSlowly(t *testing.T) {
	var slow []int
	for i := range 60 {
		slow = append(slow, 680-12*i-15*(i%4))
	}
	if d, pass := after(t, "bumpless", slow, nil); d.Verdict != Refuse || pass > 16 {
		t.Errorf("verdict %d in pass %d; want Refuse in the 16th at the latest", d.Verdict, pass)
	}
}

// A hot set that waits for the link makes passes of 0.7 s: what is not refused in one
// of them is only in the next.
func TestBumplessRefusesBeforeAPassThatWouldTakeItBeyondTwoFirstPasses(t *testing.T) {
	const first = 1900 * ms
	var list []int
	var at time.Duration
	for i := range 20 {
		list = append(list, 1300-100*i)
	}
	d, _ := after(t, "bumpless", list, func(s *Situation) {
		s.Now = first + 7*(s.Now-bulkTime)
		at = s.Now
	})
	if d.Verdict != Refuse || at > 2*first {
		t.Errorf("verdict %d at %v, the first pass took %v; want Refuse within twice that", d.Verdict, at, first)
	}
}

func TestBumplessRefusesWithinTwoFirstPassesWhatWillNotFitSoon(t *testing.T) {
	const first = 2 * time.Second
	begun := func(s *Situation) { s.Now += first - bulkTime }
	for _, c := range []struct {
		name    string
		fall    int // ms in each 100 ms
		verdict Verdict
	}{
		{"by a quarter of the time", 25, Refuse},
		{"by half of the time", 50, Switch},
	} {
		var list []int
		for i := range 60 {
			list = append(list, max(30, 1300-c.fall*i))
		}
		d, pass := after(t, "bumpless", list, begun)
		if d.Verdict != c.verdict || c.verdict == Refuse && pass > 20 {
			t.Errorf("an estimate of 1300 ms that falls %s: verdict %d in pass %d, of 100 ms each; want %d", c.name, d.Verdict, pass, c.verdict)
		}
	}
}

// A burst that had lifted the estimate to just below the limit went on while the guest
// was stopped: the move was rolled back.
func TestBumplessWaitsOutABurstNearTheLimit(t *testing.T) {
	for _, c := range []struct {
		name string
		list []int
		pass int // in which it switches
	}{
		{"falls, leaps to near the limit, and falls", []int{450, 350, 260, 160, 240, 190, 150, 150, 150}, 8},
		{"falls, and leaps to what is far below it", []int{450, 350, 260, 100, 150, 100}, 5},
		{"falls to near it, and stays", []int{450, 350, 280, 240, 240, 240}, 5},
	} {
		d, pass := after(t, "bumpless", c.list, nil)
		if d.Verdict != Switch || pass != c.pass {
			t.Errorf("%s: verdict %d in pass %d; want Switch in pass %d", c.name, d.Verdict, pass, c.pass)
		}
	}
}

// A guest whose estimate goes up and down around the limit was refused in a burst,
// although it had been within the limit 50 ms before.
func TestBumplessDoesNotRefuseWhatWasWithinTheLimitLately(t *testing.T) {
	list := append([]int{450, 330, 240}, repeat(20, 330)...)
	if d, pass := after(t, "bumpless", list, nil); d.Verdict != Refuse || pass != 3+courseLength {
		t.Errorf("verdict %d in pass %d; want Refuse %d passes after the third", d.Verdict, pass, courseLength)
	}
	if d, pass := after(t, "bumpless", append(list[:6:6], 240, 240), nil); d.Verdict != Switch {
		t.Errorf("verdict %d in pass %d; want Switch when it is again", d.Verdict, pass)
	}
}

// A hot set whose pages come again with every pass has an estimate that falls to what a
// pass brings, and no further: each pass more is sent for nothing.
func TestBumplessStopsWhereEveryPassBringsAsMuchAsWaits(t *testing.T) {
	list := []int{240, 200, 160, 115, 75, 30}
	for _, c := range []struct {
		name      string
		arrivedMs int // of the link, that every pass brings
		verdict   Verdict
		pass      int
	}{
		{"next to nothing", 5, Switch, 6},
		{"60 ms", 60, Switch, 5}, // and 25 ms for the rest of a stop
		{"more than waits, which is more than a third of the limit until then", 180, Switch, 5},
	} {
		d, pass := after(t, "bumpless", list, func(s *Situation) { s.ArrivedBytes = int64(c.arrivedMs) * 12_500 })
		if d.Verdict != c.verdict || pass != c.pass {
			t.Errorf("%s: verdict %d in pass %d; want %d in pass %d", c.name, d.Verdict, pass, c.verdict, c.pass)
		}
	}
}
