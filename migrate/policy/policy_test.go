package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

const ms = time.Millisecond

func newPolicy(t *testing.T, name string) Policy {
	t.Helper()
	p, err := New(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPoliciesAreFoundByName(t *testing.T) {
	if want := []string{"ar", "bumpless", "delayed", "layered", "memory-pattern", "precopy"}; !slices.Equal(Names(), want) {
		t.Errorf("Names() = %v; want %v", Names(), want)
	}
	for _, name := range Names() {
		if p := newPolicy(t, name); p.Name() != name {
			t.Errorf("New(%q).Name() = %q", name, p.Name())
		}
	}
	if _, err := New("fastest"); err == nil {
		t.Error(`New("fastest") = nil; want an error that names what there is`)
	}
}

func TestATouchedPageKnowsItsStreak(t *testing.T) {
	for _, c := range []struct {
		name            string
		passes          []uint32
		streak, dirtied uint16
	}{
		{"never", nil, 0, 0},
		{"once", []uint32{1}, 1, 1},
		{"twice in one pass", []uint32{1, 1}, 1, 2},
		{"in consecutive passes", []uint32{1, 2, 3}, 3, 3},
		{"after a rest", []uint32{1, 2, 4}, 1, 3},
		{"first in a late pass", []uint32{7}, 1, 1},
		{"late and again", []uint32{7, 8}, 2, 2},
	} {
		var p Page
		for _, pass := range c.passes {
			p = p.Touch(pass, time.Duration(pass)*ms)
		}
		if p.Streak != c.streak || p.Dirtied != c.dirtied {
			t.Errorf("%s: streak %d, dirtied %d; want %d, %d", c.name, p.Streak, p.Dirtied, c.streak, c.dirtied)
		}
	}
	p := Page{LastPass: 9, Streak: 1<<16 - 1, Dirtied: 1<<16 - 1}.Touch(10, 0)
	if p.Streak != 1<<16-1 || p.Dirtied != 1<<16-1 {
		t.Errorf("Touch() of a page that was always dirty = %+v; its counters must not wrap", p)
	}
}

func TestHoldAndRelease(t *testing.T) {
	page := func(passes ...uint32) (p Page) {
		for _, pass := range passes {
			p = p.Touch(pass, 0)
		}
		return p
	}
	for _, c := range []struct {
		policy  string
		page    Page
		pass    uint32 // of Hold
		hold    bool
		quiet   uint32 // passes since it was last dirtied
		release bool
	}{
		{"precopy", page(1, 2, 3), 3, false, 0, true},
		{"delayed", page(1), 1, false, 3, true},
		{"delayed", page(1, 2), 2, true, 0, false},
		{"delayed", page(1, 2), 2, true, 1, false},
		{"delayed", page(1, 2), 2, true, 2, false},
		{"delayed", page(1, 2), 2, true, 3, true},
		{"delayed", page(1, 3), 3, false, 3, true},
		{"delayed", page(2, 2), 2, false, 3, true},
	} {
		p := newPolicy(t, c.policy)
		if hold := p.Hold(c.page, Moment{Pass: c.pass}); hold != c.hold {
			t.Errorf("%s.Hold(%+v) = %v; want %v", c.policy, c.page, hold, c.hold)
		}
		if release := p.Release(c.page, Moment{Pass: c.page.LastPass + c.quiet}); release != c.release {
			t.Errorf("%s.Release(%+v, %d passes later) = %v; want %v", c.policy, c.page, c.quiet, release, c.release)
		}
	}
}

// base is a situation whose estimate is its fixed cost, 25 ms.
func base() Situation {
	return Situation{AllSentOnce: true, Ratio: 1, LinkBytesPerS: 12.5e6, Fixed: 25 * ms, Budget: 300 * ms, Margin: 50 * ms}
}

func TestTheEstimateCountsAllThatMustCross(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Situation)
		want   time.Duration
	}{
		{"nothing but the fixed cost", func(s *Situation) {}, 25 * ms},
		{"held and queued", func(s *Situation) { s.PendingBytes = 1_250_000 }, 125 * ms},
		{"what a last look brings", func(s *Situation) { s.FreshBytes = 1_250_000 }, 125 * ms},
		{"in flight", func(s *Situation) { s.InFlightBytes = 1_250_000 }, 125 * ms},
		{"compressed, but for what is in flight", func(s *Situation) {
			s.PendingBytes, s.FreshBytes, s.InFlightBytes, s.Ratio = 1_250_000, 1_250_000, 1_250_000, 0.5
		}, 225 * ms},
		{"what the destination is behind", func(s *Situation) { s.Lag = 100 * ms }, 125 * ms},
		{"of which what is in flight is a part", func(s *Situation) { s.InFlightBytes, s.Lag = 625_000, 100*ms }, 125 * ms},
		{"half the link", func(s *Situation) { s.PendingBytes, s.LinkBytesPerS = 1_250_000, 6.25e6 }, 225 * ms},
		{"a link that nobody measured", func(s *Situation) { s.LinkBytesPerS = 0 }, time.Hour},
	} {
		s := base()
		c.change(&s)
		if got := s.Estimate(); got != c.want {
			t.Errorf("%s: Estimate() = %v; want %v", c.name, got, c.want)
		}
	}
}

// bulkTime is when the first pass of after has ended.
const bulkTime = 5 * time.Second

// after lets a policy see the estimates, in ms, one for each pass, and returns
// the first verdict that is not Wait, with its pass.
func after(t *testing.T, policy string, estimates []int, change func(*Situation)) (Decision, int) {
	t.Helper()
	p := newPolicy(t, policy)
	var d Decision
	for i, e := range estimates {
		s := base()
		s.Pass, s.Now = uint32(i+1), bulkTime+time.Duration(i)*100*ms
		s.PendingBytes = int64(e-25) * 12_500
		if change != nil {
			change(&s)
		}
		if d = p.Decide(s); d.Verdict != Wait {
			return d, i + 1
		}
	}
	return d, len(estimates)
}

func repeat(n, estimate int) []int { return slices.Repeat([]int{estimate}, n) }

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name, policy string
		estimates    []int
		verdict      Verdict
		pass         int
	}{
		{"precopy switches at the first chance", "precopy", []int{900, 600, 251, 250}, Switch, 4},
		{"delayed too", "delayed", []int{900, 100}, Switch, 2},
		{"bumpless waits while it pays", "bumpless", []int{900, 240, 190, 140, 139}, Switch, 5},
		{"bumpless waits as long as it falls", "bumpless", []int{240, 200, 160, 120, 80}, Wait, 5},
		{"bumpless needs to know whether it pays", "bumpless", []int{200, 200}, Switch, 2},
		{"bumpless stops a quiet guest at once", "bumpless", []int{30}, Switch, 1},
		{"bumpless waits for what comes down slowly", "bumpless", []int{500, 480, 460, 440, 420, 400, 380, 360, 340, 320, 300, 280, 260, 240, 220}, Switch, 14},
		{"precopy refuses what does not converge", "precopy", repeat(20, 900), Refuse, 7},
		{"delayed too", "delayed", repeat(20, 900), Refuse, 7},
		{"bumpless too", "bumpless", repeat(20, 900), Refuse, 6},
		{"a slow fall is not hopeless", "precopy", []int{3000, 2600, 2300, 2000, 1700, 1500, 1300, 1100, 900}, Wait, 9},
		{"a bad start is not hopeless", "bumpless", append(repeat(5, 900), repeat(9, 60)...), Switch, 7},
		{"the margin is not to be used up", "precopy", repeat(5, 251), Wait, 5},
	} {
		d, pass := after(t, c.policy, c.estimates, nil)
		if d.Verdict != c.verdict || pass != c.pass {
			t.Errorf("%s: verdict %d in pass %d; want %d in pass %d", c.name, d.Verdict, pass, c.verdict, c.pass)
		}
		if want := time.Duration(c.estimates[pass-1]) * ms; d.Estimate != want {
			t.Errorf("%s: estimate %v; want %v", c.name, d.Estimate, want)
		}
	}
}

func TestNothingIsDecidedTooEarly(t *testing.T) {
	for name, change := range map[string]func(*Situation){
		"pages were never sent":    func(s *Situation) { s.AllSentOnce = false },
		"the link is not measured": func(s *Situation) { s.LinkBytesPerS = 0 },
	} {
		for _, policy := range Names() {
			for _, estimate := range []int{30, 900} {
				if d, _ := after(t, policy, repeat(30, estimate), change); d.Verdict != Wait {
					t.Errorf("%s: %s at %d ms: verdict %d; want Wait", name, policy, estimate, d.Verdict)
				}
			}
		}
	}
}

var helps = regexp.MustCompile(`needs (?:([0-9.]+)x the link, or )?a budget of (\d+) ms; hot set [0-9.]+ MB in (\d+) regions$`)

// What a refusal asks for must be enough, and not wasteful.
func TestARefusalSaysWhatWouldHelp(t *testing.T) {
	for _, estimate := range []int{251, 252, 275, 299, 300, 301, 900, 12_345} {
		for _, policy := range Names() {
			d, _ := after(t, policy, repeat(20, estimate), func(s *Situation) { s.Regions = 3 })
			m := helps.FindStringSubmatch(d.Reason)
			if d.Verdict != Refuse || m == nil || m[3] != "3" {
				t.Fatalf("%s at %d ms: %d %q; want a refusal that says what would help", policy, estimate, d.Verdict, d.Reason)
			}
			factor, _ := strconv.ParseFloat(m[1], 64)
			budget, _ := strconv.Atoi(m[2])
			s := base()
			s.PendingBytes = int64(estimate-25) * 12_500
			faster, longer := s, s
			faster.LinkBytesPerS *= factor
			longer.Budget = time.Duration(budget) * ms
			if faster.Estimate() > faster.Limit() || longer.Estimate() > longer.Limit() {
				t.Errorf("%s at %d ms: %q is not enough: %v, limit %v; %v, limit %v", policy, estimate, d.Reason,
					faster.Estimate(), faster.Limit(), longer.Estimate(), longer.Limit())
			}
			if faster.LinkBytesPerS *= (factor - 0.2) / factor; faster.Estimate() <= faster.Limit() {
				t.Errorf("%s at %d ms: %q asks for too much", policy, estimate, d.Reason)
			}
		}
	}
}

func TestARefusalAsksForNoLinkWhereNoLinkHelps(t *testing.T) {
	d, _ := after(t, "bumpless", repeat(20, 400), func(s *Situation) { s.Budget = 60 * ms })
	if m := helps.FindStringSubmatch(d.Reason); m == nil || m[1] != "" || m[2] != "450" {
		t.Errorf("%q; want a budget of 450 ms and no faster link: the fixed cost alone is above the limit", d.Reason)
	}
}

func Example() {
	p, _ := New("bumpless")
	s := base()
	s.PendingBytes, s.Regions = 11_200_000, 3
	d := p.Decide(s)
	for d.Verdict == Wait {
		s.Now += 100 * ms
		d = p.Decide(s)
	}
	fmt.Println(d.Reason)
	// Output: estimate 921 ms, budget 300 ms less 50 ms margin: needs 4.0x the link, or a budget of 971 ms; hot set 11.2 MB in 3 regions
}

// A stop brings what was dirtied since the last pass began; the pass itself
// brought what was dirtied during the one before.
func TestWhatAStopBrings(t *testing.T) {
	for _, c := range []struct {
		name            string
		brought         Brought
		before, elapsed time.Duration
		want            int64
	}{
		{"nothing", Brought{}, 200 * ms, 800 * ms, 0},
		{"as much in as long a time", Brought{Arrived: 100, Fresh: 100}, 200 * ms, 200 * ms, 100},
		{"less in a shorter time", Brought{Arrived: 100, Fresh: 100}, 200 * ms, 50 * ms, 25},
		{"a hot set however short the time", Brought{Arrived: 100, Fresh: 100, Steady: 80, SentSteady: 80}, 200 * ms, 50 * ms, 85},
		{"but for what of it is pending", Brought{Arrived: 100, Fresh: 100, Steady: 80, SentSteady: 30}, 200 * ms, 50 * ms, 35},
		{"by the smoothed rate if the last pass was quiet", Brought{Arrived: 10, Fresh: 10, Rate: 1000}, 200 * ms, 50 * ms, 50},
		{"more in a longer time", Brought{Arrived: 100, Fresh: 100, Steady: 80, SentSteady: 80}, 200 * ms, 800 * ms, 400},
		{"in which what is pending may be sent and come anew", Brought{Arrived: 100, Fresh: 10}, 200 * ms, 800 * ms, 310},
		{"the first pass", Brought{Arrived: 900, Fresh: 100}, 0, 200 * ms, 100},
	} {
		if got := c.brought.LastLook(c.before, c.elapsed); got != c.want {
			t.Errorf("%s: %+v.LastLook(%v, %v) = %d; want %d", c.name, c.brought, c.before, c.elapsed, got, c.want)
		}
	}
}

func TestWhatAPassBroughtIsCounted(t *testing.T) {
	var b Brought
	once := Page{}.Touch(1, 0).Touch(3, 0)
	for _, c := range []struct {
		page    Page
		pending bool
	}{{once, false}, {once.Touch(4, 0), false}, {once.Touch(4, 0), true}, {once, true}} {
		b.Add(c.page, c.pending)
	}
	if want := (Brought{Arrived: 4, Fresh: 2, Steady: 1}); b != want {
		t.Errorf("%+v; want %+v", b, want)
	}
}

func TestTheDirtyRateIsSmoothed(t *testing.T) {
	var r DirtyRate
	r = r.Add(Brought{Fresh: 90_000}, 0) // the bulk
	r = r.Add(Brought{Fresh: 120, Steady: 20}, 100*ms)
	if r != 1000 {
		t.Errorf("after 100 pages in 100 ms: %v pages/s; want 1000", r)
	}
	if r = r.Add(Brought{}, 100*ms); r != 700 {
		t.Errorf("after a quiet pass: %v pages/s; want 700", r)
	}
}
