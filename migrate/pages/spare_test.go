package pages

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"bumpless/migrate/policy"
	"bumpless/migrate/policy/policytest"
)

const ms = time.Millisecond

var spareRule = rule{Holds: policytest.Always, Releases: policytest.Always, Has: policy.Traits{QuietestFirst: true}}

// written once each, at those times: the later, the longer it is expected to stay.
func (t *Table[Tag]) written(content Tag, at ...time.Duration) {
	var zero Tag
	for page, when := range at {
		t.Arrive(page, content, content == zero, false, when)
	}
}

func order(all []sent) (pages []int) {
	for _, s := range all {
		pages = append(pages, s.at)
	}
	return pages
}

func TestWhatIsExpectedToStayForLongestLeavesFirst(t *testing.T) {
	b := tableOf(spareRule)
	b.written(1, 300*ms, 100*ms, 400*ms, 200*ms)
	if b.Waits() {
		t.Error("something waits for the link before the pass has ended")
	}
	b.PassEnd(policy.Moment{Now: 400 * ms})
	if !b.Waits() || b.Queued() != 0 {
		t.Errorf("Waits() = %v, %d queued; want pages that wait for a link with nothing else to do", b.Waits(), b.Queued())
	}
	if got, want := order(takeAll(b)), []int{2, 0, 3, 1}; !slices.Equal(got, want) {
		t.Errorf("pages left in the order %v; want %v", got, want)
	}
	if b.Waits() || b.Held() != 0 {
		t.Errorf("Waits() = %v, %d held; want nothing left", b.Waits(), b.Held())
	}
}

func TestWhatIsQueuedLeavesBeforeWhatIsSpare(t *testing.T) {
	b := tableOf(rule{Holds: func(p policy.Page, _ uint32) bool { return p.LastAt < 500*ms }, Releases: policytest.Always, Has: policy.Traits{QuietestFirst: true}})
	b.written(1, 100*ms, 200*ms)
	b.PassEnd(policy.Moment{Now: 400 * ms})
	b.Arrive(7, 1, false, false, 500*ms)
	if got, want := order(takeAll(b)), []int{7, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("pages left in the order %v; want %v", got, want)
	}
}

func TestAPageThatIsWrittenWhileItIsSpareWaitsForTheNextPass(t *testing.T) {
	b := tableOf(spareRule)
	b.written(1, 100*ms, 200*ms)
	b.PassEnd(policy.Moment{Now: 200 * ms})
	b.Arrive(1, 2, false, false, 300*ms)
	if got, want := takeAll(b), []sent{{0, 1, 1}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	b.PassEnd(policy.Moment{Now: 400 * ms})
	if got, want := takeAll(b), []sent{{1, 1, 2}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
}

func TestAStoppedGuestsSparePagesLeaveOnce(t *testing.T) {
	b := tableOf(spareRule)
	b.written(1, 100*ms, 200*ms)
	b.PassEnd(policy.Moment{Now: 200 * ms})
	b.LetGo()
	if got := order(takeAll(b)); len(got) != 2 || b.Waits() {
		t.Errorf("pages %v left, Waits() = %v; want each of both once", got, b.Waits())
	}
}

// What a connection has carried goes as a delta over that one only.
func TestASparePageWaitsForTheConnectionThatKeepsItsContent(t *testing.T) {
	b := tableOf(spareRule)
	b.Carry(2, nil)
	b.written(1, 100*ms, 200*ms, 300*ms, 400*ms)
	b.PassEnd(policy.Moment{Now: 400 * ms})
	for connection := range 2 { // each carries two pages
		line, _ := b.Line(connection)
		for range 2 {
			b.Pop(line, true)
		}
	}
	b.written(2, 500*ms, 600*ms, 700*ms, 800*ms)
	b.PassEnd(policy.Moment{Now: 800 * ms})
	for connection, want := range [][]int{{3, 2}, {1, 0}} {
		var got []int
		for line, some := b.Line(connection); some; line, some = b.Line(connection) {
			if out, ok := b.Pop(line, true); ok {
				got = append(got, out.At)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("connection %d: pages left in the order %v; want %v", connection, got, want)
		}
	}
}

// A LAN that is slow must not keep what the other one has time for.
func TestAConnectionWithNothingToDoTakesOfTheManySparePagesOfAnother(t *testing.T) {
	b := New[byte](spareRule, 200, 200)
	b.Carry(2, nil)
	for _, now := range []time.Duration{100 * ms, 300 * ms} {
		for page := range 100 {
			b.Arrive(page, byte(now/ms), false, false, now)
		}
		b.PassEnd(policy.Moment{Now: now})
		if now > 100*ms {
			break
		}
		for line, some := b.Line(0); some; line, some = b.Line(0) {
			b.Pop(line, true)
		}
	}
	n := 0
	for line, some := b.Line(1); some; line, some = b.Line(1) {
		out, _ := b.Pop(line, true)
		if n++; !line.Stolen || out.Keep {
			t.Fatalf("page %d left as the connection's own", out.At)
		}
	}
	if n < 100-stealFrom || n == 100 {
		t.Errorf("%d of 100 pages were stolen; want all but the last, fewer than %d", n, stealFrom)
	}
}

func TestRanksFollowTheTimeToTheNearestSixteenth(t *testing.T) {
	last := rank(ranks - 1)
	for quiet := time.Duration(0); quiet < 200*time.Second; quiet += max(ms, quiet/100) {
		r := rankOf(quiet)
		if r > last {
			t.Fatalf("rank of %v is %d, behind that of less, %d", quiet, r, last)
		}
		if longer := rankOf(quiet + quiet/8); quiet > 20*ms && quiet < 55*time.Second && longer >= r {
			t.Errorf("ranks of %v and of an eighth more: %d and %d; want a difference", quiet, r, longer)
		}
		last = r
	}
}

// Of a guest's 4 GiB that wait, some 45 ms on one core, of a pass of 200 ms.
func BenchmarkAPassThatReleasesAMillionPages(b *testing.B) {
	const n = 1 << 20
	t := New[byte](spareRule, n, n)
	for page, when := range rand.New(rand.NewPCG(1, 2)).Perm(n) {
		t.Arrive(page, 1, false, false, time.Duration(when)*time.Microsecond)
	}
	for b.Loop() {
		t.PassEnd(policy.Moment{Now: 2 * time.Second})
	}
}
