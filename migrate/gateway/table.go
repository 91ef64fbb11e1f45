package gateway

import (
	"fmt"
	"sync"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/pages"
	"bumpless/migrate/policy"
	"bumpless/migrate/stream"
)

// content of one page.
type content [stream.PageSize]byte

// table holds all pages of a guest at the source: what package pages says of them,
// and their contents, for the reader and the senders at the same time.
type table struct {
	mu      sync.Mutex
	changed sync.Cond // the queue changed, or stopped did
	pages   *pages.Table[tag]
	data    []*content // of each page, the newest that was not sent; nil: zero, or none
	pool    pool
	hasher  *hasher
	sum     digest
	blocks  []stream.Block
	first   []int // index of each block's first page

	kinds   link.Kind // that the destination knows, up to this one
	sending int       // batches taken and not yet written
	leaving int       // contents that those have, at most
	busy    busy
	closed  bool
	dry     bool // the senders had nothing to do since somebody looked last

	probes [][]int // pages whose next content a connection is to measure, of each: see probe.go

	stored    int // contents that are kept
	maxStored int // that may be

	memory   *memoryFile // contents of its block may be read when they are sent; nil: all are kept
	hotspots *hotspots   // of that block, in the first pass; the reader's alone
	began    time.Time
	ahead    bool  // they are, and any number of those waits; false: in order, so far
	read     int64 // bytes of those
}

// newTable makes the table of a guest of which at most maxHeld pages are held, and
// their contents kept. With its memory, which is its own from now on, any number of
// pages waits, once that is read ahead.
func newTable(p policy.Policy, h *hasher, blocks []stream.Block, maxHeld int, memory *memoryFile) *table {
	t := &table{hasher: h, blocks: blocks, maxStored: 2 * (maxHeld + maxQueued), memory: memory, began: time.Now()}
	t.changed.L = &t.mu
	total := 0
	for _, b := range blocks {
		t.first = append(t.first, total)
		total += int(b.Pages())
	}
	t.pages, t.data = pages.New[tag](p, total, maxHeld), make([]*content, total)
	if memory != nil {
		t.pages.ReadAhead()
	}
	return t
}

// maxQueued bounds what waits for the senders and is kept for them, in pages. Beyond
// it the reader waits, and so does the source's QEMU.
const maxQueued = pages.QueuePages

// looksAhead tells whether all contents of the memory file are read when they are sent:
// from when on that is the better way. Those of pages that are held are in any case.
func (t *table) looksAhead() bool {
	if t.memory != nil && !t.ahead {
		t.ahead = !policy.InOrder(time.Since(t.began), t.pages.Seen(), t.pages.Pages(), t.linkBusy())
	}
	return t.ahead
}

// linkBusy is for how long the link has been what the senders wait for; 0: it is not.
func (t *table) linkBusy() time.Duration {
	if t.busy.since.IsZero() {
		return 0
	}
	return time.Since(t.busy.since)
}

// full tells whether a page of the block must wait before it can be taken in.
func (t *table) full(block int) bool {
	switch {
	case t.pages.Stopped() || t.closed:
		return false
	case t.ahead && t.memory.has(block):
		return false
	case t.ahead:
		// Of many pages that are queued contents are not kept; where none is, what
		// is kept is held, and waits for the pass's end.
		return t.stored >= maxQueued && (t.pages.Queued() > 0 || t.sending > 0)
	}
	return t.pages.Queued() >= maxQueued
}

// arrive takes a page from the source. It blocks while the queue is full,
// unless the guest is stopped: then QEMU must be read at full speed. What is
// kept is bounded even then: the error ends the move.
func (t *table) arrive(block int, offset uint64, data []byte, now time.Duration) error {
	at := t.place(block, offset)
	tagged := t.hasher.page(block, offset/stream.PageSize, data)
	written := t.memory.has(block) && t.hotspots.around(offset/stream.PageSize, data)
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.full(block) {
		if t.looksAhead() && t.memory.has(block) {
			break
		}
		t.changed.Wait()
	}
	queued := t.pages.Queued()
	was, kept := t.pages.Arrive(at, tagged, data == nil, written, now)
	t.sum.replace(was, tagged)
	if t.memory.has(block) && (t.ahead || t.pages.Holds(at)) {
		t.drop(at) // it is read when it is sent
	} else {
		t.keep(at, data, kept)
	}
	if t.pages.Queued() > queued {
		t.changed.Broadcast()
	}
	if t.stored > t.maxStored {
		return fmt.Errorf("%d MiB of memory wait to be sent: more than is kept of one guest", t.stored*stream.PageSize>>20)
	}
	return nil
}

// place of a page among all of the guest's.
func (t *table) place(block int, offset uint64) int {
	return t.first[block] + int(offset/stream.PageSize)
}

func (t *table) blockOf(at int) int {
	block := 0
	for block+1 < len(t.first) && t.first[block+1] <= at {
		block++
	}
	return block
}

// keep does with a page's newest content what the pages' table says.
func (t *table) keep(at int, data []byte, kept pages.Kept) {
	switch kept {
	case pages.Taken:
		t.stored++
		t.data[at] = t.pool.get()
		copy(t.data[at][:], data)
	case pages.Overwritten:
		if c := t.data[at]; c != nil { // else it is read when it is sent
			copy(c[:], data)
		}
	case pages.Freed:
		t.drop(at)
	}
}

// drop a content that is kept, if there is one.
func (t *table) drop(at int) {
	if c := t.data[at]; c != nil {
		t.stored--
		t.pool.put(c)
		t.data[at] = nil
	}
}

// contentOf is the hash of what waits to be sent of a page.
func (t *table) contentOf(at int) contentHash {
	block := t.blockOf(at)
	return t.hasher.contentOf(block, uint64(at-t.first[block]), t.pages.Newest(at))
}

// passEnd closes a pass: see pages.Table.
func (t *table) passEnd(link policy.Moment) policy.Brought {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.changed.Broadcast()
	brought := t.pages.PassEnd(link)
	t.hotspots = nil
	t.askProbes()
	return brought
}

// bulkSent: see pages.Table.
func (t *table) bulkSent() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pages.BulkSent()
}

// dryNow tells whether nothing is queued or being written.
func (t *table) dryNow() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.pages.Waits() && t.sending == 0
}

// letGo queues everything that is held: the guest is stopped.
func (t *table) letGo() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pages.LetGo()
	t.changed.Broadcast()
}

// carry says that there are so many connections, and whether they keep contents:
// then a page waits for the one that keeps its own, or would keep its like. The
// destination knows the kinds of pages up to last.
func (t *table) carry(connections int, keep bool, last link.Kind) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kinds, t.probes = last, make([][]int, connections)
	switch {
	case keep && last >= link.Same:
		t.pages.Carry(connections, func(at int) uint64 { return t.contentOf(at)[0] })
	case keep:
		t.pages.Carry(connections, nil)
	}
}

// take waits for work for a connection and fills a batch. ok is false when the table
// was closed. Every batch taken must be put back.
func (t *table) take(connection int, batch *batch) (ok bool, err error) {
	if !t.takePages(connection, batch) {
		return false, nil
	}
	return true, t.readLate(batch)
}

func (t *table) takePages(connection int, batch *batch) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	batch.reset()
	for !t.closed {
		if t.takeSome(connection, batch) {
			return true
		}
		t.dry = t.dry || !t.pages.Waits() && t.sending == 0
		t.changed.Wait()
	}
	return false
}

// takeSome is takePages without waiting; mu is held.
func (t *table) takeSome(connection int, batch *batch) (ok bool) {
	batch.room = t.pages.BatchContents()
	for line, some := t.pages.Line(connection); some; line, some = t.pages.Line(connection) {
		t.fill(batch, line, connection)
		if len(batch.pages) > 0 {
			t.sending++
			t.leaving += batch.room
			return true
		} // else all in the line had been dropped
	}
	return false
}

// more adds to a batch what there is room for now that its pages are short. It
// waits for nothing; false when nothing was added.
func (t *table) more(connection int, batch *batch) (added bool, err error) {
	if batch.full() {
		return false, nil
	}
	before := len(batch.pages)
	t.morePages(connection, batch)
	return len(batch.pages) > before, t.readLate(batch)
}

func (t *table) morePages(connection int, batch *batch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if line, some := t.pages.Line(connection); some {
		t.fill(batch, line, connection)
	}
}

// fill moves pages of a line into a batch, and pages that are zero of those that
// are anyone's: many fit into a few bytes.
func (t *table) fill(batch *batch, line pages.Line, connection int) {
	bare := t.memory != nil && !t.ahead && t.busy.known && t.linkBusy() == 0
	t.fillFrom(batch, line, bare)
	if !line.Anyones {
		t.fillFrom(batch, t.pages.Anyone(connection), bare)
	}
	t.changed.Broadcast() // there is room in the queue, and an empty one may be what somebody waits for
}

func (t *table) fillFrom(batch *batch, line pages.Line, bare bool) {
	for len(batch.pages) < pages.BatchPages {
		out, ok := t.pages.Pop(line, batch.long+len(batch.contents) < batch.room)
		if !ok {
			return
		}
		block := t.blockOf(out.At)
		p := link.Page{Block: uint8(block), Kind: link.Zero, Index: uint32(out.At - t.first[block]), Version: out.Version}
		if !out.Content {
			batch.addZero(p, t.kinds)
			continue
		}
		c, kept := t.leave(out)
		if p.Kind, p.Data = link.Whole, c[:]; out.Keep {
			p.Kind = link.Keep
		}
		if kept {
			batch.add(p, out.At, leaving{c, t.contentOf(out.At), bare})
			continue
		}
		batch.unread = append(batch.unread, unread{len(batch.pages), len(batch.contents), out.At})
		batch.add(p, out.At, leaving{content: c})
	}
}

// leave is the room of the content that a page leaves with, and whether it is there.
func (t *table) leave(out pages.Out) (c *content, kept bool) {
	c = t.data[out.At]
	if c == nil {
		return t.pool.get(), false
	}
	if t.memory != nil {
		t.pages.Sent(out.At, out.Version, t.pages.Newest(out.At))
	}
	t.data[out.At] = nil
	t.stored--
	return c, true
}

// put gives a written batch's contents back, and says whether more waits.
func (t *table) put(batch *batch) (more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range batch.contents {
		t.pool.put(c.content)
	}
	for _, c := range batch.spare {
		t.pool.put(c)
	}
	batch.shares(t.pages.Learn)
	t.sending--
	t.leaving -= batch.room
	t.busy.add(batch.behind, time.Now())
	t.changed.Broadcast()
	return t.pages.Waits()
}

// drained waits until nothing is queued or being written; false when closed.
func (t *table) drained() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for (t.pages.Queued() > 0 || t.sending > 0) && !t.closed {
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
	dry := t.dry || !t.pages.Waits()
	t.dry = false
	return dry
}

func (t *table) digest() digest {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}
