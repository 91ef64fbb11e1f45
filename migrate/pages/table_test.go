package pages

import (
	"slices"
	"testing"

	"bumpless/migrate/policy"
	"bumpless/migrate/policy/policytest"
)

type rule = policytest.Rule

// tableOf twelve pages, of which ten may be held. A page's tag is its content.
func tableOf(r rule) *Table[byte] { return New[byte](r, 12, 10) }

// page arrives with a content; 0 is a page of zeros.
func (t *Table[Tag]) page(at int, is Tag) Kept {
	var zero Tag
	_, kept := t.Arrive(at, is, is == zero, false, 0)
	return kept
}

// sent is a page as it left the table.
type sent struct {
	at      int
	version uint32
	content byte
}

// takeAll is all that is queued for connection 0, in order.
func takeAll(t *Table[byte]) (all []sent) {
	for line, some := t.Line(0); some; line, some = t.Line(0) {
		out, ok := t.Pop(line, true)
		if !ok {
			continue // dropped while it waited
		}
		s := sent{at: out.At, version: out.Version}
		if out.Content {
			s.content = t.Newest(out.At)
		}
		all = append(all, s)
	}
	return all
}

func TestOnlyTheNewestContentIsKept(t *testing.T) {
	b := tableOf(rule{})
	for i, c := range []struct {
		content byte
		kept    Kept
	}{{0, None}, {1, Taken}, {2, Overwritten}, {0, Freed}, {0, None}, {3, Taken}} {
		if kept := b.page(4, c.content); kept != c.kept {
			t.Errorf("arrival %d, of content %d: kept %d; want %d", i, c.content, kept, c.kept)
		}
	}
	if got, want := takeAll(b), []sent{{4, 1, 3}}; !slices.Equal(got, want) || b.Pending() != 0 {
		t.Errorf("taken %v, %d pending; want %v and none", got, b.Pending(), want)
	}
	if was, kept := b.Arrive(4, 7, false, false, 0); was != 3 || kept != Taken {
		t.Errorf("Arrive() = %d, %d; want the content that it had, and %d", was, kept, Taken)
	}
}

func TestAPassEndLetsGoWhatThePolicyReleases(t *testing.T) {
	b := tableOf(rule{Holds: policytest.Always, Releases: func(p policy.Page, pass uint32) bool { return pass > p.LastPass+1 }})
	b.page(1, 1)
	b.PassEnd(policy.Moment{}) // pass 2 begins
	b.page(2, 2)
	if got := takeAll(b); got != nil {
		t.Fatalf("taken %v in pass 2; want nothing", got)
	}
	b.PassEnd(policy.Moment{}) // pass 3
	if got, want := takeAll(b), []sent{{1, 1, 1}}; !slices.Equal(got, want) {
		t.Errorf("taken %v in pass 3; want %v", got, want)
	}
	b.page(1, 3) // held again, after it was let go
	b.PassEnd(policy.Moment{})
	b.PassEnd(policy.Moment{})
	if got, want := takeAll(b), []sent{{2, 1, 2}, {1, 2, 3}}; !slices.Equal(got, want) {
		t.Errorf("taken %v in pass 5; want %v", got, want)
	}
	if len(b.waiting) != 0 || b.held != 0 {
		t.Errorf("%d pages are listed, %d held; want none", len(b.waiting), b.held)
	}
}

func TestAStoppedGuestsOldestPagesGoFirst(t *testing.T) {
	b := tableOf(rule{Holds: policytest.Always})
	for pass, index := range []int{5, 6, 1, 2} { // one page in each of the passes 1 to 4
		if pass > 0 {
			b.PassEnd(policy.Moment{})
		}
		b.page(index, byte(index))
	}
	b.LetGo()
	if got, want := takeAll(b), []sent{{5, 1, 5}, {6, 1, 6}, {1, 1, 1}, {2, 1, 2}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	b.page(3, 7)
	if got, want := takeAll(b), []sent{{3, 1, 7}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v: nothing is held of a stopped guest", got, want)
	}
}

func TestWhatTheDestinationHasIsNotSentAgain(t *testing.T) {
	b := tableOf(rule{Has: policy.Traits{DropUnchanged: true}})
	b.page(1, 1)
	takeAll(b)
	b.page(1, 1)
	if got := takeAll(b); got != nil {
		t.Errorf("taken %v; want nothing: the content is the one that was sent", got)
	}
	b.page(1, 2) // queued
	b.page(1, 1) // and back to what was sent
	b.page(2, 0) // zeros, never sent: the destination must hear of it
	if got, want := takeAll(b), []sent{{2, 1, 0}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	b.page(1, 3)
	b.page(1, 1)
	b.page(1, 4) // queued twice by now, sent once
	if got, want := takeAll(b), []sent{{1, 2, 4}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	if b.Pending() != 0 || b.Held() != 0 || b.Queued() != 0 {
		t.Errorf("%d contents are pending, %d pages held, %d queued; want none", b.Pending(), b.Held(), b.Queued())
	}
}

func TestAHeldPageThatReturnsToWhatWasSentIsForgotten(t *testing.T) {
	hold := false
	b := tableOf(rule{Has: policy.Traits{DropUnchanged: true}, Holds: func(policy.Page, uint32) bool { return hold }})
	b.page(1, 1)
	takeAll(b)
	hold = true
	for range 3 { // held and forgotten, again and again
		b.page(1, 2)
		b.page(1, 1)
	}
	if len(b.waiting) > 1 || b.held != 0 || b.pending != 0 {
		t.Errorf("%d pages are listed, %d held, %d contents; want at most one listed", len(b.waiting), b.held, b.pending)
	}
	b.LetGo()
	if got := takeAll(b); got != nil {
		t.Errorf("taken %v; want nothing", got)
	}
}

// A guest's RAM may compress well and its hot set not at all: what counts for
// the pause is what the pages that wait took on the link before.
func TestTheExpectedRatioIsThatOfThePagesThatWait(t *testing.T) {
	hold := false
	b := tableOf(rule{Holds: func(policy.Page, uint32) bool { return hold }})
	send := func(share uint8, pages ...int) {
		for _, i := range pages {
			b.page(i, 1)
		}
		for _, s := range takeAll(b) {
			b.Learn(s.at, share)
		}
	}
	send(4, 0, 1, 2)
	send(16, 3)
	b.PassEnd(policy.Moment{})
	b.PassEnd(policy.Moment{})
	hold = true
	for _, c := range []struct {
		page int
		want float64
	}{{0, 0.25}, {3, 0.625}, {4, 0.75}} { // page 4 was never sent
		b.page(c.page, 2)
		if got := b.Ratio(0); got != c.want {
			t.Errorf("with page %d, too: ratio %v; want %v", c.page, got, c.want)
		}
	}
	b.page(4, 0)
	b.LetGo()
	takeAll(b)
	if b.shares != 0 || b.Ratio(0) != 1 {
		t.Errorf("%d shares, ratio %v of nothing; want 0 and 1", b.shares, b.Ratio(0))
	}
	// What a page took may be known only when the page is pending again.
	b.page(0, 3)
	takeAll(b)
	b.page(0, 4)
	b.Learn(0, 8)
	if got := b.Ratio(0); got != 0.5 {
		t.Errorf("ratio %v of a page that took half; want 0.5", got)
	}
}

// A page that the guest is known to write counts as one that came before: it may be
// held in the first pass, and is no part of the bulk.
func TestAPageThatIsKnownToBeWrittenMayBeHeldWhenItFirstComes(t *testing.T) {
	b := aheadOf(rule{Holds: func(p policy.Page, _ uint32) bool { return p.Dirtied > 1 }})
	b.Arrive(1, 1, false, true, 0)
	b.Arrive(2, 2, false, false, 0)
	b.Arrive(3, 0, true, true, 0)
	if !b.Holds(1) || b.Holds(2) || !b.Holds(3) || b.Seen() != 3 || b.unsent != 1 {
		t.Errorf("held: %v %v %v, %d seen, %d of the bulk not sent; want 1 and 3 held, 3 seen, 1", b.Holds(1), b.Holds(2), b.Holds(3), b.Seen(), b.unsent)
	}
}

func TestHoldingIsBounded(t *testing.T) {
	b := New[byte](rule{Holds: policytest.Always}, 12, 3)
	for at := range 5 {
		b.page(at, 1)
	}
	if b.Held() != 3 || b.Queued() != 2 {
		t.Errorf("%d pages are held, %d queued; want 3 and 2", b.Held(), b.Queued())
	}
	b.page(0, 2)
	if b.Held() != 3 {
		t.Errorf("%d pages are held; a page that is held stays so", b.Held())
	}
}

func TestAPageWaitsForTheConnectionThatKeepsItsContentOrItsLike(t *testing.T) {
	b := New[byte](rule{}, 1000, 0)
	b.Carry(2, func(at int) uint64 { return uint64(b.Newest(at)) })
	pop := func(connection int) (out Out, stolen, ok bool) {
		line, some := b.Line(connection)
		if !some {
			return Out{}, false, false
		}
		out, ok = b.Pop(line, true)
		return out, line.Stolen, ok
	}
	b.page(5, 3) // its like go with connection 1
	if _, _, ok := pop(0); ok {
		t.Error("connection 0 has it; want 1")
	}
	if out, _, _ := pop(1); out != (Out{At: 5, Version: 1, Content: true, Keep: true}) {
		t.Errorf("out = %+v; want page 5, to be kept", out)
	}
	b.page(5, 4) // whose like go with connection 0, but 1 has carried it
	if _, _, ok := pop(0); ok {
		t.Error("connection 0 has it; want the one that has carried it")
	}
	for at := range stealFrom { // now connection 1 is behind
		b.page(100+at, 3)
	}
	out, stolen, _ := pop(0)
	if out != (Out{At: 5, Version: 2, Content: true}) || !stolen {
		t.Errorf("out = %+v, stolen %v; want page 5, stolen, and not kept: connection 1 keeps it", out, stolen)
	}
	if out, stolen, _ = pop(0); out != (Out{At: 100, Version: 1, Content: true, Keep: true}) || !stolen {
		t.Errorf("out = %+v, stolen %v; want page 100, stolen and kept: nobody has carried it", out, stolen)
	}
	if _, _, ok := pop(0); ok {
		t.Errorf("connection 0 takes of %d pages of another one's", stealFrom-1)
	}
	b.page(7, 0)
	if out, stolen, _ = pop(0); out != (Out{At: 7, Version: 1}) || stolen {
		t.Errorf("out = %+v, stolen %v; want the page of zeros, which is anyone's", out, stolen)
	}
}

func TestAContentWaitsForRoomAndZerosDoNot(t *testing.T) {
	b := tableOf(rule{})
	b.page(1, 0)
	b.page(2, 9)
	line, _ := b.Line(0)
	if out, ok := b.Pop(line, false); out != (Out{At: 1, Version: 1}) || !ok {
		t.Errorf("Pop() = %+v, %v; want page 1, of zeros", out, ok)
	}
	if out, ok := b.Pop(line, false); ok {
		t.Errorf("Pop() = %+v; want none", out)
	}
	if b.Queued() != 1 || len(b.Waiting()) != 1 {
		t.Errorf("%d pages are queued, %v wait; want page 2", b.Queued(), b.Waiting())
	}
}

func TestPagesNearEachOtherAreOneRegion(t *testing.T) {
	for _, c := range []struct {
		pages []int
		want  int
	}{{nil, 0}, {[]int{0}, 1}, {[]int{16, 0, 16}, 1}, {[]int{17, 0}, 2}, {[]int{40, 3, 4, 60, 41}, 3}} {
		if got := Regions(slices.Clone(c.pages)); got != c.want {
			t.Errorf("Regions(%v) = %d; want %d", c.pages, got, c.want)
		}
	}
}

// A stopped guest's budget must not be spent on looking for what is held: this
// is a guest of 8 GiB of which 2000 pages are held.
func BenchmarkLetGoOfALargeGuest(b *testing.B) {
	large := New[byte](rule{Holds: policytest.Always}, 8<<30/Size, 1<<20)
	for b.Loop() {
		b.StopTimer()
		large.stopped, large.queue = false, queue{}
		for i := range 2000 {
			e := &large.entries[i*1000]
			e.state, e.listed = idle, false
			large.Arrive(i*1000, 1, false, false, 0)
		}
		b.StartTimer()
		large.LetGo()
		large.waiting = nil
	}
}

// aheadOf is a table whose contents are read when pages leave.
func aheadOf(r rule) *Table[byte] {
	r.Has = policy.Traits{DropUnchanged: true, ReadAhead: true}
	b := tableOf(r)
	b.ReadAhead()
	return b
}

func TestWhatIsBeingReadIsNotTakenForSentBeforeItIsKnown(t *testing.T) {
	b := aheadOf(rule{})
	b.page(1, 5)
	takeAll(b)
	if kept := b.page(1, 5); kept != Taken {
		t.Errorf("the content that had arrived, and may not be what is sent: kept %d; want %d", kept, Taken)
	}
	takeAll(b)
	b.Sent(1, 2, 6)
	b.Sent(1, 1, 5) // the connection that took it first was slower
	if kept := b.page(1, 5); kept != Taken {
		t.Errorf("what was sent before: kept %d; want %d", kept, Taken)
	}
	takeAll(b)
	b.Sent(1, 3, 7)
	if kept := b.page(1, 7); kept != None || b.Pending() != 0 {
		t.Errorf("what was sent last: kept %d, %d pending; want it dropped", kept, b.Pending())
	}
}

func TestAPageThatIsWrittenWhileItWaitsForTheFirstTimeMayBeHeld(t *testing.T) {
	b := aheadOf(rule{Holds: func(p policy.Page, _ uint32) bool { return p.Dirtied > 1 }, Releases: policytest.Always})
	for at := 1; at <= 4; at++ {
		b.page(at, byte(at))
	}
	b.PassEnd(policy.Moment{})
	b.page(2, 9)
	if b.Held() != 1 || b.Pending() != 4 {
		t.Errorf("%d are held, %d pending; want page 2 and four", b.Held(), b.Pending())
	}
	if got, want := takeAll(b), []sent{{1, 1, 1}, {3, 1, 3}, {4, 1, 4}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
	b.PassEnd(policy.Moment{})
	if got, want := takeAll(b), []sent{{2, 1, 9}}; !slices.Equal(got, want) {
		t.Errorf("taken %v; want %v", got, want)
	}
}

func TestTheBulkIsSentWhenLittleOfItIsLeftInTheQueue(t *testing.T) {
	const more = 5
	b := New[byte](rule{Holds: func(p policy.Page, _ uint32) bool { return p.Dirtied > 1 }}, QueuePages+more+1, 10)
	if !b.BulkSent() {
		t.Error("without ReadAhead the queue is short: BulkSent() = false")
	}
	b.ReadAhead()
	for at := range QueuePages + more {
		b.page(at, 1)
	}
	b.page(QueuePages+more, 0)
	line, _ := b.Line(0)
	for left := more; left > 0; left-- {
		if b.BulkSent() {
			t.Fatalf("%d pages too many are left: BulkSent() = true", left)
		}
		if left%2 == 0 {
			b.Pop(line, true)
		} else {
			b.page(QueuePages+left-1, 2) // held from now on
		}
	}
	if !b.BulkSent() {
		t.Error("BulkSent() = false; want true")
	}
}

func TestWhatIsSentInBulkLeavesInLargerBatches(t *testing.T) {
	b := New[byte](rule{Has: policy.Traits{ReadAhead: true}}, 2*QueuePages, 0)
	b.ReadAhead()
	bulk := func(when string, want int) {
		t.Helper()
		if got := b.BatchContents(); got != want {
			t.Errorf("%s: %d contents leave together; want %d", when, got, want)
		}
	}
	bulk("first pass", BulkContents)
	for at := range QueuePages + 1 {
		b.page(at, 1)
	}
	b.PassEnd(policy.Moment{})
	bulk("first pass is over, and more than a queue was not sent", BulkContents)
	line, _ := b.Line(0)
	b.Pop(line, true)
	bulk("a queue is left", BatchContents)
	b.page(0, 2)
	bulk("what was sent comes again", BatchContents)
}
