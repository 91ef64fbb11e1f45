package gateway

import (
	"fmt"
	"sync"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/policy"
	"bumpless/migrate/stream"
)

// content of one page.
type content [stream.PageSize]byte

// Where a page stands at the source.
const (
	idle   = iota // nothing to send
	held          // waits, its newest content is kept
	queued        // waits for a sender
)

// entry is what the source knows of one page.
type entry struct {
	history policy.Page
	newest  tag      // of the newest content that arrived
	sent    tag      // of what was sent last
	data    *content // newest content that was not sent; nil: zero, or none
	version uint32   // of what was sent last; 0: never sent
	state   uint8
	listed  bool  // in waiting
	carrier uint8 // connection that sent it last and keeps its content
	carried bool  // there is one
	// share is what the content took on the link last, in sixteenths of a page,
	// and is expected to take again; 0: never sent.
	share uint8
}

// table holds all pages of a guest at the source. Contents that wait are
// overwritten in place, so that only the newest one is ever sent.
type table struct {
	mu      sync.Mutex
	changed sync.Cond // the queue changed, or stopped did
	policy  policy.Policy
	traits  policy.Traits
	hasher  *hasher
	blocks  []stream.Block
	first   []int // index of each block's first page
	entries []entry
	sum     digest

	queue     queue
	kinds     link.Kind // that the destination knows, up to this one
	waiting   []int     // holds every held page once, and some that were let go since
	heldPages int
	sending   int // batches taken and not yet written
	pending   int // contents that are kept: held or queued, not zero
	pass      uint32
	link      policy.Moment  // what the last pass's end said of the link
	shares    int            // that those are expected to take on the link, in sixteenths
	brought   policy.Brought // by this pass
	// sentSteady of the pages that came in two passes in a row: of this pass, and
	// of the last.
	sentSteady, lastSentSteady int
	// shares of the fresh pages: of this pass, and of the last.
	freshShares, lastFreshShares int
	pool                         pool
	hurry                        bool // the guest is stopped: nothing is held, nothing waits
	closed                       bool
	dry                          bool // the senders had nothing to do since somebody looked last

	maxHeld    int // pages that a policy may hold
	maxPending int // contents that may be kept in all
}

// newTable makes the table of a guest of which at most maxHeld pages are held.
func newTable(p policy.Policy, h *hasher, blocks []stream.Block, maxHeld int) *table {
	t := &table{policy: p, traits: p.Traits(), hasher: h, blocks: blocks, pass: 1,
		maxHeld: maxHeld, maxPending: 2 * (maxHeld + maxQueued)}
	t.changed.L = &t.mu
	total := 0
	for _, b := range blocks {
		t.first = append(t.first, total)
		total += int(b.Pages())
	}
	t.entries = make([]entry, total)
	return t
}

// maxQueued bounds what waits for the senders, in pages: 8 MiB. Beyond it the
// reader waits, and so does the source's QEMU.
const maxQueued = 2048

// arrive takes a page from the source. It blocks while the queue is full,
// unless the guest is stopped: then QEMU must be read at full speed. What is
// kept is bounded even then: the error ends the move.
func (t *table) arrive(block int, offset uint64, data []byte, now time.Duration) error {
	index := offset / stream.PageSize
	at := t.place(block, offset)
	tagged := t.hasher.page(block, index, data)
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.queue.length >= maxQueued && !t.hurry && !t.closed {
		t.changed.Wait()
	}
	e := &t.entries[at]
	t.sum.replace(e.newest, tagged)
	e.newest = tagged
	e.history = e.history.Touch(t.pass, now)
	t.brought.Add(e.history, e.state != idle)
	if e.state == idle {
		t.freshShares += e.expected()
	}
	if t.traits.DropUnchanged && e.version != 0 && tagged == e.sent {
		t.forget(at)
		return nil
	}
	t.keep(e, data)
	switch {
	case t.pending > t.maxPending:
		return fmt.Errorf("%d MiB of memory wait to be sent: more than is kept of one guest", t.pending*stream.PageSize>>20)
	case e.state == queued:
		return nil
	case !t.hurry && (e.state == held || t.heldPages < t.maxHeld) && t.policy.Hold(e.history, t.moment(now)):
		t.hold(at)
		return nil
	}
	t.enqueue(at)
	return nil
}

// place of a page among all of the guest's.
func (t *table) place(block int, offset uint64) int {
	return t.first[block] + int(offset/stream.PageSize)
}

func (t *table) hold(at int) {
	e := &t.entries[at]
	if e.state != held {
		e.state = held
		t.heldPages++
	}
	if !e.listed {
		e.listed = true
		t.waiting = append(t.waiting, at)
	}
}

// keep stores the newest content in place.
func (t *table) keep(e *entry, data []byte) {
	if data == nil {
		t.release(e)
		return
	}
	if e.data == nil {
		t.pending++
		t.shares += e.expected()
		e.data = t.pool.get()
	}
	copy(e.data[:], data)
}

func (t *table) release(e *entry) {
	if e.data != nil {
		t.pool.put(e.data)
		e.data = nil
		t.pending--
		t.shares -= e.expected()
	}
}

// forget drops what waits for a page: the destination has it already. A queued
// page stays in the queue, as one with nothing to send.
func (t *table) forget(at int) {
	e := &t.entries[at]
	t.release(e)
	if e.state == held {
		t.heldPages--
	}
	e.state = idle
}

func (t *table) enqueue(at int) {
	e := &t.entries[at]
	if e.state == held {
		t.heldPages--
	}
	e.state = queued
	switch connections := uint64(len(t.queue.own)); {
	case e.carried:
		t.queue.addFor(int(e.carrier), at)
	case e.data != nil && connections > 0 && t.kinds >= link.Same:
		t.queue.addFor(int(t.contentOf(at)%connections), at) // where its like go
	default:
		t.queue.add(at)
	}
	t.changed.Broadcast()
}

// contentOf is the hash of what waits to be sent of a page.
func (t *table) contentOf(at int) uint64 {
	block := t.blockOf(at)
	return t.hasher.contentOf(block, uint64(at-t.first[block]), t.entries[at].newest)
}

// moment is what the policy may know now; mu is held.
func (t *table) moment(now time.Duration) policy.Moment {
	m := t.link
	m.Now, m.Pass, m.QueuedBytes = now, t.pass, int64(t.queue.length)*stream.PageSize
	return m
}

// passEnd closes a pass: it lets go what has been quiet, and says what the
// pass brought. Of link, the time and what is known of the link count.
func (t *table) passEnd(link policy.Moment) policy.Brought {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.link = link
	brought := t.brought
	t.pass++
	t.brought = policy.Brought{}
	t.lastSentSteady, t.sentSteady = t.sentSteady, 0
	t.lastFreshShares, t.freshShares = t.freshShares, 0
	still := t.waiting[:0]
	for _, at := range t.waiting {
		e := &t.entries[at]
		if e.state == held && t.policy.Release(e.history, t.moment(link.Now)) {
			t.enqueue(at)
		}
		if e.listed = e.state == held; e.listed {
			still = append(still, at)
		}
	}
	t.waiting = still
	return brought
}

// letGo queues everything that is held: the guest is stopped. What was dirtied
// longest ago goes first, since it is the least likely to come once more. It
// looks at held pages only: walking over all of a large guest's pages would
// take as long as a budget.
func (t *table) letGo() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hurry = true
	last := t.pass
	for _, recent := range []bool{false, true} {
		for _, at := range t.waiting {
			if e := &t.entries[at]; e.state == held && (e.history.LastPass+1 >= last) == recent {
				t.enqueue(at)
			}
		}
	}
	t.changed.Broadcast()
}

// carry says that there are so many connections, and whether they keep contents:
// then a page waits for the one that keeps its own, or would keep its like. The
// destination knows the kinds of pages up to last.
func (t *table) carry(connections int, keep bool, last link.Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds = last; keep {
		t.queue.own = make([][]int, connections)
	}
}

// take waits for work for a connection and fills a batch: up to
// link.MaxBatchPages contents. ok is false when the table was closed. Every batch
// taken must be put back.
func (t *table) take(connection int, batch *batch) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	batch.reset()
	for {
		list, stolen := t.queue.next(connection)
		for len(*list) == 0 && !t.closed {
			t.dry = t.dry || t.queue.length == 0 && t.sending == 0
			t.changed.Wait()
			list, stolen = t.queue.next(connection)
		}
		if t.closed {
			return false
		}
		t.fill(batch, list, connection, stolen)
		if len(batch.pages) > 0 {
			t.sending++
			return true
		}
		t.changed.Broadcast() // an empty queue may be what somebody waits for
	}
}

// more adds to a batch what there is room for now that its pages are short. It
// waits for nothing; false when nothing was added.
func (t *table) more(connection int, batch *batch) bool {
	if batch.full() {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(batch.pages)
	list, stolen := t.queue.next(connection)
	t.fill(batch, list, connection, stolen)
	return len(batch.pages) > before
}

// fill moves pages of a list into a batch, and pages that are zero of those that
// are anyone's: many fit into a few bytes.
func (t *table) fill(batch *batch, list *[]int, connection int, stolen bool) {
	t.fillFrom(batch, list, connection, stolen)
	if list != &t.queue.anyone {
		t.fillFrom(batch, &t.queue.anyone, connection, false)
	}
	t.changed.Broadcast()
}

func (t *table) fillFrom(batch *batch, list *[]int, connection int, stolen bool) {
	used := 0
	for used < len(*list) && len(batch.pages) < maxBatch {
		at := (*list)[used]
		e := &t.entries[at]
		if e.data != nil && batch.long+len(batch.contents) >= link.MaxBatchPages {
			break
		}
		used++
		if e.state != queued {
			continue // dropped while it waited
		}
		e.state = idle
		t.countSteady(e)
		e.version++
		e.sent = e.newest
		block := t.blockOf(at)
		p := link.Page{Block: uint8(block), Kind: link.Zero, Index: uint32(at - t.first[block]), Version: e.version}
		if e.data == nil {
			batch.addZero(p, t.kinds)
			continue
		}
		p.Kind, p.Data = link.Whole, e.data[:]
		if len(t.queue.own) > 0 && !(stolen && e.carried) {
			p.Kind, e.carrier, e.carried = link.Keep, uint8(connection), true
		}
		batch.add(p, at, e.data, t.hasher.contentOf(block, uint64(p.Index), e.newest))
		e.data = nil
		t.pending--
		t.shares -= e.expected()
	}
	*list = (*list)[used:]
	t.queue.length -= used
}

// countSteady notes that a page is being sent that came in two passes in a row.
func (t *table) countSteady(e *entry) {
	switch {
	case e.history.Streak < 2:
	case e.history.LastPass == t.pass:
		t.sentSteady++
	case e.history.LastPass+1 == t.pass:
		t.lastSentSteady++
	}
}

func (t *table) blockOf(at int) int {
	block := 0
	for block+1 < len(t.first) && t.first[block+1] <= at {
		block++
	}
	return block
}

// put gives a written batch's contents back, and says whether more waits.
func (t *table) put(batch *batch) (more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range batch.contents {
		t.pool.put(c)
	}
	for _, c := range batch.spare {
		t.pool.put(c)
	}
	for _, at := range batch.at {
		t.learn(&t.entries[at], batch.share)
	}
	t.sending--
	t.changed.Broadcast()
	return t.queue.length > 0
}

// drained waits until nothing is queued or being written; false when closed.
func (t *table) drained() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for (t.queue.length > 0 || t.sending > 0) && !t.closed {
		t.changed.Wait()
	}
	return !t.closed
}

// close wakes everybody who waits.
func (t *table) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.changed.Broadcast()
}

// ranDry tells whether the senders have had nothing to do since it was called
// last: then the link was not saturated.
func (t *table) ranDry() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	dry := t.dry || t.queue.length == 0
	t.dry = false
	return dry
}

func (t *table) digest() digest {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}
