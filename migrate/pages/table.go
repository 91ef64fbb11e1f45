package pages

import (
	"time"

	"bumpless/migrate/policy"
)

// Where a page stands.
type state uint8

const (
	idle   state = iota // nothing to send
	held                // waits until the policy lets it go
	queued              // waits for a sender
)

// entry is what is known of one page.
type entry[Tag comparable] struct {
	history policy.Page
	newest  Tag    // of the content that arrived last
	sent    Tag    // of what was sent last
	version uint32 // of what was sent last; 0: never sent
	state   state
	content bool  // a content is kept for it: it waits, and is not zero
	listed  bool  // in waiting
	carrier uint8 // connection that sent it last and keeps its content
	carried bool  // there is one
	share   uint8 // see Learn
	again   bool  // that is what it took when it was sent for the second time, or later
	guessed bool  // see guess
	bulk    bool  // it is in the queue for the first time
	reading bool  // it was sent, and nobody has said yet what: see Sent
}

// Table of all pages of a guest, which are numbered from 0.
type Table[Tag comparable] struct {
	policy  policy.Policy
	traits  policy.Traits
	entries []entry[Tag]
	queue   queue
	likes   func(at int) uint64 // see Carry
	waiting []int               // holds every held page once, and some that were let go since
	spare   spare               // of those: released, for when the link has nothing else to do
	held    int                 // pages
	maxHeld int
	ahead   bool // see ReadAhead
	seen    int  // pages that have arrived
	unsent  int  // pages with a content that wait in the queue for the first time
	stopped bool
	pass    uint32
	link    policy.Moment // what the last pass's end said of the link

	pending int            // contents that are kept: held or queued, not zero
	shares  int            // that those which are not guessed are expected to take on the link, in sixteenths
	guess   guess          // of the others
	brought policy.Brought // by this pass
	// freshShares of the fresh pages: of this pass, and of the last.
	freshShares, lastFreshShares int
	// sentSteady of the pages that came in two passes in a row: of this pass, and
	// of the last.
	sentSteady, lastSentSteady int
}

// New table of a guest with so many pages, of which at most maxHeld are held at a
// time. Passes count from 1.
func New[Tag comparable](p policy.Policy, pages, maxHeld int) *Table[Tag] {
	t := &Table[Tag]{policy: p, traits: p.Traits(), entries: make([]entry[Tag], pages), maxHeld: maxHeld, pass: 1}
	for i := range t.entries {
		// Memory that is read first, as Arrive does, costs two page faults.
		t.entries[i].state = idle
	}
	return t
}

// Kept says what becomes of the room that a page's content is kept in.
type Kept uint8

// What becomes of it.
const (
	None        Kept = iota // no content is kept, and none was
	Taken                   // the content is the page's only one that is kept
	Overwritten             // the content takes the place of an older one
	Freed                   // an older content is not needed any more, and this one neither
)

// Arrive takes in that a page came from the guest, with the content that tag
// stands for, or as a page of zeros. written: the guest is known to have written it just
// now, so that it counts as one that comes again. was is the tag of what it had before.
func (t *Table[Tag]) Arrive(at int, is Tag, zero, written bool, now time.Duration) (was Tag, kept Kept) {
	e := &t.entries[at]
	was, e.newest = e.newest, is
	if e.history.Dirtied == 0 {
		t.seen++
		if e.bulk = !zero; e.bulk {
			t.unsent++
		}
		if written {
			e.history = e.history.Touch(t.pass, now)
		}
	}
	e.history = e.history.Touch(t.pass, now)
	t.brought.Add(e.history, e.state != idle)
	if e.state == idle {
		t.freshShares += t.willTake(e)
	}
	if t.traits.DropUnchanged && e.version != 0 && is == e.sent && !e.reading {
		return was, t.forget(e)
	}
	kept = t.keep(e, !zero)
	switch {
	case e.state == queued && !t.ahead:
	case !t.stopped && (e.state == held || t.held < t.maxHeld) && t.policy.Hold(e.history, t.moment(now)):
		t.hold(at)
	case e.state == queued:
	default:
		t.enqueue(at)
	}
	return was, kept
}

// keep a content for a page, or none.
func (t *Table[Tag]) keep(e *entry[Tag], content bool) Kept {
	was := e.content
	e.content = content
	switch {
	case content && was:
		t.expects(e, false)
		t.expects(e, true)
		return Overwritten
	case content:
		t.pending++
		t.expects(e, true)
		return Taken
	case was:
		t.pending--
		t.expects(e, false)
		return Freed
	}
	return None
}

// forget what waits for a page: the destination has it already. A queued page
// stays in the queue, as one with nothing to send.
func (t *Table[Tag]) forget(e *entry[Tag]) Kept {
	if e.state == held {
		t.held--
	}
	e.state = idle
	return t.keep(e, false)
}

// hold a page. One that was queued leaves its place in the queue behind: should it
// be queued again before that is reached, it leaves from there.
func (t *Table[Tag]) hold(at int) {
	e := &t.entries[at]
	t.notBulk(e)
	if e.state != held {
		e.state = held
		t.held++
	}
	if !e.listed {
		e.listed = true
		t.waiting = append(t.waiting, at)
	}
}

func (t *Table[Tag]) enqueue(at int) {
	e := &t.entries[at]
	if e.state == held {
		t.held--
	}
	e.state = queued
	if connection, is := t.connectionOf(at); is {
		t.queue.addFor(connection, at)
	} else {
		t.queue.add(at)
	}
}

// connectionOf is the one that a page that is going to be sent waits for; false: for
// anyone.
func (t *Table[Tag]) connectionOf(at int) (connection int, is bool) {
	switch e, connections := &t.entries[at], uint64(len(t.queue.own)); {
	case e.carried:
		return int(e.carrier), true
	case e.content && connections > 0 && t.likes != nil:
		return int(t.likes(at) % connections), true // where its like go
	}
	return 0, false
}

// notBulk: the page does not wait in the queue for the first time any more.
func (t *Table[Tag]) notBulk(e *entry[Tag]) {
	if e.bulk {
		e.bulk = false
		t.unsent--
	}
}

// ReadAhead says that contents are read when pages leave, and that all of the
// guest's pages may be queued, or held: one that is written again while it is queued
// may be held then, and every one that leaves with a content must be said to be Sent.
func (t *Table[Tag]) ReadAhead() { t.ahead, t.maxHeld = true, len(t.entries) }

// QueuePages is what may be queued without ReadAhead, in pages: 8 MiB.
const QueuePages = 2048

// BulkSent tells, at the end of a pass, whether every page has been sent once, is
// held, or is among the last in the queue.
func (t *Table[Tag]) BulkSent() bool { return !t.ahead || t.unsent <= QueuePages }

// BatchContents is how many contents may leave together now. What is left when the bulk
// is through is what the guest writes: the later a page leaves, the less often it must.
func (t *Table[Tag]) BatchContents() int {
	if t.pass == 1 || t.unsent > QueuePages {
		return BulkContents
	}
	return BatchContents
}

// moment is what the policy may know now.
func (t *Table[Tag]) moment(now time.Duration) policy.Moment {
	m := t.link
	m.Now, m.Pass, m.QueuedBytes = now, t.pass, int64(t.queue.length)*Size
	if t.ahead { // most of the queue may be zeros, and places that were left
		m.QueuedBytes = int64(max(0, t.pending-t.held)) * Size
	}
	return m
}

// PassEnd closes a pass: it lets go what the policy releases, at once or when the link
// has nothing else to do (policy.Traits.QuietestFirst), and says what the pass brought.
// Of link, the time and what is known of the link count, until the next pass ends.
func (t *Table[Tag]) PassEnd(link policy.Moment) policy.Brought {
	t.link = link
	brought := t.brought
	t.pass++
	t.brought = policy.Brought{}
	t.lastSentSteady, t.sentSteady = t.sentSteady, 0
	t.lastFreshShares, t.freshShares = t.freshShares, 0
	t.guess.last, t.guess.now = t.guess.now, sample{}
	t.spare.clear()
	still := t.waiting[:0]
	for _, at := range t.waiting {
		e := &t.entries[at]
		if e.state == held && t.policy.Release(e.history, t.moment(link.Now)) {
			t.release(at, link.Now)
		}
		if e.listed = e.state == held; e.listed {
			still = append(still, at)
		}
	}
	t.waiting = still
	t.spare.sort()
	return brought
}

// LetGo queues everything that is held: the guest is stopped, and nothing is held
// from now on. What was dirtied longest ago goes first, since it is the least
// likely to come once more. It looks at held pages only: walking over all of a
// large guest's pages would take as long as a budget.
func (t *Table[Tag]) LetGo() {
	t.stopped = true
	t.spare.clear()
	for _, recent := range []bool{false, true} {
		for _, at := range t.waiting {
			if e := &t.entries[at]; e.state == held && (e.history.LastPass+1 >= t.pass) == recent {
				t.enqueue(at)
			}
		}
	}
}

// Sent says what a page was sent with, in that version: with ReadAhead, it need not
// be what had arrived.
func (t *Table[Tag]) Sent(at int, version uint32, is Tag) {
	e := &t.entries[at]
	if e.version == version { // or it has left once more since
		e.sent, e.reading = is, false
	}
}

// Holds tells whether a page is held.
func (t *Table[Tag]) Holds(at int) bool { return t.entries[at].state == held }

// Newest is the tag of a page's content that arrived last.
func (t *Table[Tag]) Newest(at int) Tag { return t.entries[at].newest }
