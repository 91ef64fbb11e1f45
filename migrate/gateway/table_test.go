package gateway

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/pages"
	"bumpless/migrate/policy"
	"bumpless/migrate/policy/policytest"
	"bumpless/migrate/stream"
)

type rule = policytest.Rule

// tableOf two blocks, of 8 and 4 pages.
func tableOf(t *testing.T, r rule) *table {
	t.Helper()
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	return newTable(r, h, []stream.Block{{Name: "pc.ram", Size: 8 * stream.PageSize}, {Name: "vram", Size: 4 * stream.PageSize}}, 1000, nil)
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
	for t.pages.Queued() > 0 {
		var b batch
		done := make(chan bool, 1)
		go func() {
			ok, err := t.take(0, &b)
			done <- ok && err == nil
		}()
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
	if b.pages.Pending() != 0 {
		t.Errorf("%d contents are kept although nothing waits", b.pages.Pending())
	}
}

func TestAHeldPageIsOverwrittenInPlaceAndSentOnce(t *testing.T) {
	b := tableOf(t, rule{Holds: policytest.Always})
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

func TestTheLoadIsWhatIsActuallyKept(t *testing.T) {
	b := tableOf(t, rule{Holds: func(p policy.Page, _ uint32) bool { return p.Dirtied > 1 }})
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

func TestWhatIsKeptOfAStoppedGuestIsBounded(t *testing.T) {
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	b := newTable(rule{}, h, []stream.Block{{Name: "pc.ram", Size: 1 << 30}}, 3, nil)
	b.letGo() // the guest is stopped: nothing blocks, but memory ends
	for i := range 10_000 {
		if err = b.arrive(0, uint64(100+i)*stream.PageSize, make([]byte, stream.PageSize), 0); err != nil {
			break
		}
	}
	if err == nil || b.pages.Pending() > b.maxStored+1 || !strings.Contains(err.Error(), "more than is kept") {
		t.Errorf("arrive() = %v with %d contents kept; want an error at %d", err, b.pages.Pending(), b.maxStored)
	}
}

func TestAFullQueueHoldsTheReaderUntilTheGuestIsStopped(t *testing.T) {
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	b := newTable(rule{}, h, []stream.Block{{Name: "pc.ram", Size: 1 << 30}}, 1000, nil)
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
	if ok, err := b.take(0, &work); !ok || err != nil {
		t.Fatalf("take() = %v, %v", ok, err)
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
	if ok, err := b.take(0, &work); ok || err != nil {
		t.Errorf("take() of a closed table = %v, %v; want false", ok, err)
	}
}

// Of a batch of the bulk 32 contents may be under way, of a later one 16: a pause that was
// estimated with too few of them is too short.
func TestWhatIsBeingWrittenCountsUntilItIs(t *testing.T) {
	b := tableOf(t, rule{})
	for pass, want := range []int64{pages.BulkContents * stream.PageSize, pages.BatchContents * stream.PageSize} {
		b.page(t, 0, pass, 1)
		var taken batch
		if ok, err := b.take(0, &taken); !ok || err != nil {
			t.Fatal(ok, err)
		}
		if got := b.load(0).leavingBytes; got != want {
			t.Errorf("pass %d: %d bytes are being written, at most; want %d", pass+1, got, want)
		}
		b.put(&taken)
		if got := b.load(0).leavingBytes; got != 0 {
			t.Errorf("pass %d: %d bytes are being written; want none", pass+1, got)
		}
		b.passEnd(policy.Moment{})
	}
}
