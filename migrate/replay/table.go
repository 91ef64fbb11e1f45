package replay

import (
	"slices"

	"bumpless/migrate/policy"
)

// Where a page stands at the source.
const (
	idle uint8 = iota
	held
	queued
)

type entry struct {
	history policy.Page
	newest  content // that arrived
	sent    content // last
	was     bool    // sent at all
	state   uint8
	listed  bool  // in waiting
	share   uint8 // expected bytes on the link, in sixteenths; 0: never sent
}

// table is the gateway's, without its threads: see gateway/table.go.
type table struct {
	policy                 policy.Policy
	drop                   bool
	entries                []entry
	queue                  []uint32
	waiting                []uint32 // every held page once, and some that were let go since
	held                   int
	maxHeld                int
	content                int // held or queued, not zero
	shares                 int // that they are expected to take on the link, in sixteenths of a page
	freshShares, lastFresh int // of fresh pages: in this pass, and in the last
	pass                   uint32
	brought                policy.Brought
	sentSteady, lastSteady int // of pages that came in two passes in a row: see policy.Brought
}

func newTable(p policy.Policy, pages uint32, maxHeld int) *table {
	return &table{policy: p, drop: p.Traits().DropUnchanged, entries: make([]entry, pages), maxHeld: maxHeld, pass: 1}
}

// arrive takes a page and tells whether it was put into the queue.
func (t *table) arrive(page uint32, c content, m policy.Moment, stopped bool) {
	e := &t.entries[page]
	if e.state != idle {
		t.count(e, -1)
	}
	e.newest = c
	e.history = e.history.Touch(t.pass, m.Now)
	if t.drop && e.was && e.sent.number == c.number {
		t.leave(e)
		return
	}
	t.count(e, 1)
	t.brought.Add(e.history, e.state != idle)
	if e.state == idle {
		t.freshShares += e.expected()
	}
	switch {
	case e.state == queued:
		return
	case !stopped && (e.state == held || t.held < t.maxHeld) && t.policy.Hold(e.history, m):
		t.hold(page)
		return
	}
	t.enqueue(page)
}

// count the newest content in or out of what is pending.
func (t *table) count(e *entry, n int) {
	if e.newest.number != 0 {
		t.content += n
		t.shares += n * e.expected()
	}
}

// expected bytes on the link in sixteenths of a page: what the page took last.
func (e *entry) expected() int {
	if e.share == 0 {
		return sixteenths
	}
	return int(e.share)
}

func (t *table) leave(e *entry) {
	if e.state == held {
		t.held--
	}
	e.state = idle
}

func (t *table) hold(page uint32) {
	e := &t.entries[page]
	if e.state != held {
		e.state = held
		t.held++
	}
	if !e.listed {
		e.listed = true
		t.waiting = append(t.waiting, page)
	}
}

func (t *table) enqueue(page uint32) {
	e := &t.entries[page]
	t.leave(e)
	e.state = queued
	t.queue = append(t.queue, page)
}

// passEnd lets go what the policy releases, or everything.
func (t *table) passEnd(moment func() policy.Moment, everything bool) policy.Brought {
	brought := t.brought
	t.pass++
	t.brought = policy.Brought{}
	t.lastSteady, t.sentSteady = t.sentSteady, 0
	t.lastFresh, t.freshShares = t.freshShares, 0
	still := t.waiting[:0]
	for _, page := range t.waiting {
		e := &t.entries[page]
		if e.state == held && (everything || t.policy.Release(e.history, moment())) {
			t.enqueue(page)
		}
		if e.listed = e.state == held; e.listed {
			still = append(still, page)
		}
	}
	t.waiting = still
	return brought
}

// fill takes the next batch out of the queue.
func (t *table) fill() (b batch) {
	used := 0
	for contents := 0; used < len(t.queue) && contents < batchPages && b.pages < 4*batchPages; used++ {
		e := &t.entries[t.queue[used]]
		if e.state != queued {
			continue // dropped while it waited
		}
		t.count(e, -1)
		e.state, e.sent, e.was = idle, e.newest, true
		t.countSteady(e.history)
		if e.newest.number != 0 {
			e.share = t.packs(e.newest)
			contents++
		}
		b.add(e.newest)
	}
	t.queue = t.queue[used:]
	return b
}

func (t *table) countSteady(p policy.Page) {
	switch {
	case p.Streak < 2:
	case p.LastPass == t.pass:
		t.sentSteady++
	case p.LastPass+1 == t.pass:
		t.lastSteady++
	}
}

// packs says what a content takes on the link, in sixteenths.
func (t *table) packs(c content) uint8 {
	if !t.policy.Traits().Compress {
		return sixteenths
	}
	return uint8(c.packed / (PageSize / sixteenths))
}

// ratio that what is pending, and what the last pass brought, is expected to
// compress to.
func (t *table) ratio(fresh int) float64 {
	if t.content+fresh == 0 {
		return 1
	}
	return float64(t.shares+t.lastFresh) / float64(sixteenths*(t.content+fresh))
}

// regions: runs of pending pages with fewer than 16 pages between them.
func (t *table) regions() (n int) {
	const gap = 16
	pages := slices.Clone(t.queue)
	for _, page := range t.waiting {
		if t.entries[page].state == held {
			pages = append(pages, page)
		}
	}
	slices.Sort(pages)
	for i, page := range pages {
		if i == 0 || page-pages[i-1] > gap {
			n++
		}
	}
	return n
}

// pendingBytes of content that is held or queued.
func (t *table) pendingBytes() int64 { return int64(t.content) * PageSize }

func (t *table) queuedBytes() int64 { return int64(len(t.queue)) * PageSize }
