package gateway

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/policy"
	"bumpless/migrate/stream"
)

// rule is a policy whose answers a test sets.
type rule struct {
	hold, release func(p policy.Page, pass uint32) bool
	traits        policy.Traits
}

func (r rule) Name() string          { return "rule" }
func (r rule) Traits() policy.Traits { return r.traits }
func (r rule) Hold(p policy.Page, m policy.Moment) bool {
	return r.hold != nil && r.hold(p, m.Pass)
}
func (r rule) Release(p policy.Page, m policy.Moment) bool {
	return r.release != nil && r.release(p, m.Pass)
}
func (r rule) Decide(policy.Situation) policy.Decision { return policy.Decision{} }

func always(policy.Page, uint32) bool { return true }

// tableOf two blocks, of 8 and 4 pages.
func tableOf(t *testing.T, r rule) *table {
	t.Helper()
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	return newTable(r, h, []stream.Block{{Name: "pc.ram", Size: 8 * stream.PageSize}, {Name: "vram", Size: 4 * stream.PageSize}}, 1000)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// page brings a page that is filled with one byte; 0 is a page of zeros.
func (t *table) page(tt *testing.T, block, index int, fill byte) {
	tt.Helper()
	var data []byte
	if fill != 0 {
		data = bytes.Repeat([]byte{fill}, stream.PageSize)
	}
	must(tt, t.arrive(block, uint64(index)*stream.PageSize, data, 0))
}

// sent is a page as it left the table.
type sent struct {
	block   uint8
	index   uint32
	version uint32
	fill    byte
}

// takeAll returns all that is queued, in order.
func (t *table) takeAll(tt *testing.T) (all []sent) {
	tt.Helper()
	for t.queue.length > 0 {
		var b batch
		done := make(chan bool, 1)
		go func() { done <- t.take(0, &b) }()
		select {
		case ok := <-done:
			if !ok {
				return all
			}
		case <-time.After(50 * time.Millisecond): // only dropped pages were queued
			t.close()
			<-done
			t.mu.Lock()
			t.closed = false
			t.mu.Unlock()
			return all
		}
		for _, p := range b.pages {
			s := sent{p.Block, p.Index, p.Version, 0}
			if p.Data != nil {
				s.fill = p.Data[0]
			}
			all = append(all, s)
		}
		t.put(&b)
	}
	return all
}

func TestPagesLeaveInOrderWithTheirPlace(t *testing.T) {
	b := tableOf(t, rule{})
	b.page(t, 0, 3, 1)
	b.page(t, 1, 0, 2)
	b.page(t, 0, 7, 0)
	want := []sent{{0, 3, 1, 1}, {1, 0, 1, 2}, {0, 7, 1, 0}}
	if got := b.takeAll(t); !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
}

func TestOnlyTheNewestContentIsSent(t *testing.T) {
	b := tableOf(t, rule{})
	b.page(t, 0, 1, 1)
	b.page(t, 0, 2, 9)
	b.page(t, 0, 1, 2) // queued: overwritten in place, its turn is kept
	b.page(t, 0, 2, 0) // nothing but zeros now
	if got, want := b.takeAll(t), []sent{{0, 1, 1, 2}, {0, 2, 1, 0}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	b.page(t, 0, 1, 3)
	if got, want := b.takeAll(t), []sent{{0, 1, 2, 3}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v: each version is newer than the last", got, want)
	}
	if b.pending != 0 {
		t.Errorf("%d contents are kept although nothing waits", b.pending)
	}
}

func TestAHeldPageIsOverwrittenInPlaceAndSentOnce(t *testing.T) {
	b := tableOf(t, rule{hold: always})
	for fill := range byte(5) {
		b.page(t, 0, 1, fill+1)
		b.passEnd(policy.Moment{})
	}
	if l := b.load(0); l.contentBytes != stream.PageSize || l.heldBytes != stream.PageSize || l.queuedBytes() != 0 {
		t.Errorf("load() = %+v; want one page that is held", l)
	}
	if got := b.takeAll(t); got != nil {
		t.Errorf("taken %v although it is held", got)
	}
	b.letGo()
	if got, want := b.takeAll(t), []sent{{0, 1, 1, 5}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
}

func TestAPassEndLetsGoWhatThePolicyReleases(t *testing.T) {
	b := tableOf(t, rule{hold: always, release: func(p policy.Page, pass uint32) bool { return pass > p.LastPass+1 }})
	b.page(t, 0, 1, 1)
	b.passEnd(policy.Moment{}) // pass 2 begins
	b.page(t, 0, 2, 2)
	if got := b.takeAll(t); got != nil {
		t.Fatalf("taken %v in pass 2; want nothing", got)
	}
	b.passEnd(policy.Moment{}) // pass 3
	if got, want := b.takeAll(t), []sent{{0, 1, 1, 1}}; !slices.Equal(got, want) {
		t.Errorf("taken %v in pass 3; want %v", got, want)
	}
	b.page(t, 0, 1, 3) // held again, after it was let go
	b.passEnd(policy.Moment{})
	b.passEnd(policy.Moment{})
	if got, want := b.takeAll(t), []sent{{0, 2, 1, 2}, {0, 1, 2, 3}}; !slices.Equal(got, want) {
		t.Errorf("taken %v in pass 5; want %v", got, want)
	}
	if len(b.waiting) != 0 || b.heldPages != 0 {
		t.Errorf("%d pages are listed, %d held; want none", len(b.waiting), b.heldPages)
	}
}

func TestAStoppedGuestsOldestPagesGoFirst(t *testing.T) {
	b := tableOf(t, rule{hold: always})
	for pass, index := range []int{5, 6, 1, 2} { // one page in each of the passes 1 to 4
		if pass > 0 {
			b.passEnd(policy.Moment{})
		}
		b.page(t, 0, index, byte(index))
	}
	b.letGo()
	if got, want := b.takeAll(t), []sent{{0, 5, 1, 5}, {0, 6, 1, 6}, {0, 1, 1, 1}, {0, 2, 1, 2}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	b.page(t, 0, 3, 7)
	if got, want := b.takeAll(t), []sent{{0, 3, 1, 7}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v: nothing is held of a stopped guest", got, want)
	}
}

func TestWhatTheDestinationHasIsNotSentAgain(t *testing.T) {
	b := tableOf(t, rule{traits: policy.Traits{DropUnchanged: true}})
	b.page(t, 0, 1, 1)
	b.takeAll(t)
	b.page(t, 0, 1, 1)
	if got := b.takeAll(t); got != nil {
		t.Errorf("taken %v; want nothing: the content is the one that was sent", got)
	}
	b.page(t, 0, 1, 2) // queued
	b.page(t, 0, 1, 1) // and back to what was sent
	b.page(t, 0, 2, 0) // zeros, never sent: the destination must hear of it
	if got, want := b.takeAll(t), []sent{{0, 2, 1, 0}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	b.page(t, 0, 1, 3)
	b.page(t, 0, 1, 1)
	b.page(t, 0, 1, 4) // queued twice by now, sent once
	if got, want := b.takeAll(t), []sent{{0, 1, 2, 4}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	if l := b.load(0); l.contentBytes != 0 || l.heldBytes != 0 {
		t.Errorf("load() = %+v; want nothing", l)
	}
}

func TestAHeldPageThatReturnsToWhatWasSentIsForgotten(t *testing.T) {
	hold := false
	b := tableOf(t, rule{traits: policy.Traits{DropUnchanged: true}, hold: func(policy.Page, uint32) bool { return hold }})
	b.page(t, 0, 1, 1)
	b.takeAll(t)
	hold = true
	for range 3 { // held and forgotten, again and again
		b.page(t, 0, 1, 2)
		b.page(t, 0, 1, 1)
	}
	if len(b.waiting) > 1 || b.heldPages != 0 || b.pending != 0 {
		t.Errorf("%d pages are listed, %d held, %d contents; want at most one listed", len(b.waiting), b.heldPages, b.pending)
	}
	b.letGo()
	if got := b.takeAll(t); got != nil {
		t.Errorf("taken %v; want nothing", got)
	}
}

func TestTheLoadIsWhatIsActuallyKept(t *testing.T) {
	b := tableOf(t, rule{hold: func(p policy.Page, _ uint32) bool { return p.Dirtied > 1 }})
	b.page(t, 0, 0, 0) // zeros cost nothing
	b.page(t, 0, 1, 1)
	b.page(t, 0, 2, 2)
	if l := b.load(0); l.contentBytes != 2*stream.PageSize || l.heldBytes != 0 || l.regions != 1 {
		t.Errorf("load() = %+v; want the two contents that are queued, in one region", l)
	}
	b.takeAll(t)
	b.page(t, 0, 1, 3)
	b.page(t, 1, 3, 4)
	l := b.load(0)
	if l.contentBytes != 2*stream.PageSize || l.heldBytes != stream.PageSize || l.queuedBytes() != stream.PageSize {
		t.Errorf("load() = %+v; want one page held, one queued", l)
	}
	if got, want := b.passEnd(policy.Moment{}), (policy.Brought{Arrived: 5, Fresh: 5}); got != want {
		t.Errorf("passEnd() = %+v; want %+v", got, want)
	}
	b.page(t, 0, 1, 5) // held: nothing new is pending
	b.page(t, 1, 2, 5)
	if got, want := b.passEnd(policy.Moment{}), (policy.Brought{Arrived: 2, Fresh: 1}); got != want {
		t.Errorf("passEnd() = %+v; want %+v", got, want)
	}
	if got := b.passEnd(policy.Moment{}); got != (policy.Brought{}) {
		t.Errorf("passEnd() of an empty pass = %+v", got)
	}
}

// A guest's RAM may compress well and its hot set not at all: what counts for
// the pause is what the pages that wait took on the link before.
func TestTheExpectedRatioIsThatOfThePagesThatWait(t *testing.T) {
	hold := false
	b := tableOf(t, rule{hold: func(policy.Page, uint32) bool { return hold }})
	send := func(share uint8, pages ...int) {
		for _, i := range pages {
			b.page(t, 0, i, 1)
		}
		var work batch
		if !b.take(0, &work) {
			t.Fatal("take() = false")
		}
		work.share = share
		b.put(&work)
	}
	send(4, 0, 1, 2)
	send(16, 3)
	b.passEnd(policy.Moment{})
	b.passEnd(policy.Moment{})
	hold = true
	for _, c := range []struct {
		page int
		want float64
	}{{0, 0.25}, {3, 0.625}, {4, 0.75}} { // page 4 was never sent
		b.page(t, 0, c.page, 2)
		if got := b.load(0).ratio; got != c.want {
			t.Errorf("with page %d, too: ratio %v; want %v", c.page, got, c.want)
		}
	}
	b.page(t, 0, 4, 0)
	b.letGo()
	b.takeAll(t)
	if b.shares != 0 || b.load(0).ratio != 1 {
		t.Errorf("%d shares, ratio %v of nothing; want 0 and 1", b.shares, b.load(0).ratio)
	}
	// A batch may be put back when its page is pending again.
	b.page(t, 0, 0, 3)
	b.page(t, 0, 1, 3)
	var work batch
	b.take(0, &work)
	b.page(t, 0, 0, 4)
	work.share = 8
	b.put(&work)
	if got := b.load(0).ratio; got != 0.5 {
		t.Errorf("ratio %v of a page that took half; want 0.5", got)
	}
}

func TestHoldingIsBounded(t *testing.T) {
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	b := newTable(rule{hold: always}, h, []stream.Block{{Name: "pc.ram", Size: 1 << 30}}, 3)
	for i := range 5 {
		b.page(t, 0, i, 1)
	}
	if b.heldPages != 3 || b.queue.length != 2 {
		t.Errorf("%d pages are held, %d queued; want 3 and 2", b.heldPages, b.queue.length)
	}
	b.page(t, 0, 0, 2)
	if b.heldPages != 3 {
		t.Errorf("%d pages are held; a page that is held stays so", b.heldPages)
	}
	b.letGo() // the guest is stopped: nothing blocks, but memory ends
	for i := range 10_000 {
		if err = b.arrive(0, uint64(100+i)*stream.PageSize, make([]byte, stream.PageSize), 0); err != nil {
			break
		}
	}
	if err == nil || b.pending > b.maxPending+1 || !strings.Contains(err.Error(), "more than is kept") {
		t.Errorf("arrive() = %v with %d contents kept; want an error at %d", err, b.pending, b.maxPending)
	}
}

func TestAFullQueueHoldsTheReaderUntilTheGuestIsStopped(t *testing.T) {
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	b := newTable(rule{}, h, []stream.Block{{Name: "pc.ram", Size: 1 << 30}}, 1000)
	for i := range maxQueued {
		b.page(t, 0, i, 1)
	}
	arrived := make(chan error, 1)
	go func() { arrived <- b.arrive(0, maxQueued*stream.PageSize, make([]byte, stream.PageSize), 0) }()
	select {
	case <-arrived:
		t.Fatal("a page arrived although the queue is full")
	case <-time.After(20 * time.Millisecond):
	}
	b.letGo()
	select {
	case err := <-arrived:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("the reader waits although the guest is stopped")
	}
}

func TestDrainedWaitsForWhatIsBeingWritten(t *testing.T) {
	b := tableOf(t, rule{})
	b.page(t, 0, 1, 1)
	var work batch
	if !b.take(0, &work) {
		t.Fatal("take() = false")
	}
	done := make(chan bool, 1)
	go func() { done <- b.drained() }()
	select {
	case <-done:
		t.Fatal("drained although a batch was not put back")
	case <-time.After(20 * time.Millisecond):
	}
	b.put(&work)
	if !<-done {
		t.Error("drained() = false; want true")
	}
	b.page(t, 0, 2, 1)
	go func() { done <- b.drained() }()
	b.close()
	if <-done {
		t.Error("drained() of a closed table = true; want false")
	}
	if b.take(0, &work) {
		t.Error("take() of a closed table = true; want false")
	}
}

// A stopped guest's budget must not be spent on looking for what is held: this
// is a guest of 8 GiB of which 2000 pages are held.
func BenchmarkLetGoOfALargeGuest(b *testing.B) {
	h, err := newHasher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	large := newTable(rule{hold: always}, h, []stream.Block{{Name: "pc.ram", Size: 8 << 30}}, 1<<20)
	data := make([]byte, stream.PageSize)
	for b.Loop() {
		b.StopTimer()
		large.hurry, large.queue = false, queue{}
		for i := range uint64(2000) {
			e := &large.entries[i*1000]
			e.state, e.listed = idle, false
			if err := large.arrive(0, i*1000*stream.PageSize, data, 0); err != nil {
				b.Fatal(err)
			}
		}
		b.StartTimer()
		large.letGo()
		large.waiting = nil
	}
}
