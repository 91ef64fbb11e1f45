package gateway

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/policy"
	"bumpless/migrate/policy/policytest"
	"bumpless/migrate/stream"
)

// running is a move of a guest that runs while its pages are read.
type running struct {
	*moving
	file  *os.File
	guest map[uint64][]byte
	dirty map[uint64]bool // since QEMU looked last
}

func newRunning(t *testing.T, seed uint64, connections, slotsEach int) *running {
	r := &running{moving: newMoving(t, seed, connections, slotsEach, link.Zeros), guest: map[uint64][]byte{}, dirty: map[uint64]bool{}}
	var err error
	r.file, err = os.Create(filepath.Join(t.TempDir(), "memory"))
	must(t, err)
	t.Cleanup(func() { r.file.Close() })
	must(t, r.file.Truncate(movingPages*stream.PageSize))
	// Every third page that is written again is held.
	again := func(p policy.Page, _ uint32) bool { return p.Dirtied%3 == 2 }
	r.table = newTable(rule{Has: policy.Traits{DropUnchanged: true, ReadAhead: true}, Holds: again}, r.table.hasher, movingBlocks, 1000, &memoryFile{file: r.file})
	r.table.carry(connections, slotsEach > 0, link.Zeros)
	r.table.ahead = true
	return r
}

// run lets the guest write, and QEMU look.
func (r *running) run() {
	offset := r.random.Uint64N(movingPages/4) * stream.PageSize
	if r.random.IntN(2) == 0 {
		// One of few contents: what it had before comes again.
		page := bytes.Repeat([]byte{byte(r.random.IntN(3))}, stream.PageSize)
		if r.guest[offset] = page; page[0] == 0 {
			r.guest[offset] = nil
		}
		_, err := r.file.WriteAt(page, int64(offset))
		must(r.t, err)
		r.dirty[offset] = true
	} else if r.dirty[offset] {
		r.look(offset)
	}
}

func (r *running) look(offset uint64) {
	delete(r.dirty, offset)
	must(r.t, r.table.arrive(0, offset, r.guest[offset], 0))
}

// take fills a batch; the guest, and another connection, go on before it is read, and
// before that is noted.
func (r *running) take(connection, depth int) {
	var b batch
	if !r.table.takeSome(connection, &b) {
		return
	}
	r.meanwhile(connection, depth)
	tags, err := r.table.readUnread(&b)
	must(r.t, err)
	r.meanwhile(connection, depth)
	r.table.noteSent(&b, tags)
	r.pack(connection, &b)
}

func (r *running) meanwhile(connection, depth int) {
	for range r.random.IntN(6) {
		if !r.table.pages.Stopped() {
			r.run()
		}
	}
	if depth > 0 && r.random.IntN(2) == 0 {
		r.take((connection+1)%len(r.slots), depth-1)
	}
}

// A guest's memory is read while it writes, and after QEMU has looked: what counts
// is that it is the guest's when it has stopped.
func TestContentsThatAreReadWhenTheyAreSentLeadToTheGuestsMemory(t *testing.T) {
	for seed := range uint64(80) {
		connections := 1 + int(seed%3)
		r := newRunning(t, seed, connections, []int{0, 5, movingPages}[seed/3%3])
		// What is kept while pages are read in order may still wait afterwards.
		r.table.ahead = seed%2 == 0
		if seed%4 < 2 {
			var err error
			r.table.hotspots, err = lookForHotspots(r.table.memory)
			must(t, err)
		}
		for n := range 600 {
			r.table.ahead = r.table.ahead || n == 200
			switch c := r.random.IntN(connections); r.random.IntN(5) {
			case 0, 1, 2:
				r.run()
			case 3:
				r.take(c, 2)
			case 4:
				r.deliver(c)
			}
			if r.random.IntN(100) == 0 {
				r.table.passEnd(policy.Moment{})
			}
		}
		for _, offset := range slices.Sorted(maps.Keys(r.dirty)) {
			r.look(offset)
		}
		r.table.letGo()
		for c := 0; r.table.pages.Queued() > 0; c = (c + 1) % connections {
			r.take(c, 0)
		}
		r.finish(seed, r.guest)
		if n := r.table.readBytes(); n == 0 || r.table.stored != 0 {
			t.Errorf("seed %d: %d bytes were read, %d contents kept; want some, none", seed, n, r.table.stored)
		}
	}
}

func TestPagesOutsideTheMemoryFileAreKept(t *testing.T) {
	r := newRunning(t, 0, 1, 0)
	r.table.memory.block = 7
	r.guest[0] = []byte(strings.Repeat("x", stream.PageSize))
	must(t, r.table.arrive(0, 0, r.guest[0], 0))
	if r.table.stored != 1 {
		t.Errorf("%d contents are kept; want one", r.table.stored)
	}
	r.finish(0, r.guest)
}

func TestMemoryThatCannotBeReadEndsTheMove(t *testing.T) {
	r := newRunning(t, 0, 1, 0)
	must(t, r.table.arrive(0, 3*stream.PageSize, []byte(strings.Repeat("x", stream.PageSize)), 0))
	must(t, r.file.Truncate(stream.PageSize))
	var b batch
	if _, err := r.table.take(0, &b); err == nil || !strings.Contains(err.Error(), "0x3000") {
		t.Errorf("take() = %v; want an error that names the place", err)
	}
}

// A page that is held waits for the end of the pass, which waits for the page behind it.
func TestPagesThatAreHeldDoNotHoldUpThoseOfAnotherBlock(t *testing.T) {
	for _, ahead := range []bool{false, true} {
		shared := sharedMemory(t, (maxQueued+1)*stream.PageSize)
		h, err := newHasher(make([]byte, 16))
		must(t, err)
		blocks := []stream.Block{{Name: "pc.ram", Size: (maxQueued + 1) * stream.PageSize}, {Name: "vga.vram", Size: 2 * stream.PageSize}}
		table := newTable(rule{Has: policy.Traits{ReadAhead: true}, Holds: policytest.Always}, h, blocks, 4*maxQueued, &memoryFile{file: shared})
		there := make(chan error, 1)
		go func() {
			page := bytes.Repeat([]byte{1}, stream.PageSize)
			for i := range uint64(maxQueued + 1) {
				if err := table.arrive(0, i*stream.PageSize, page, 0); err != nil {
					there <- err
					return
				}
			}
			table.mu.Lock()
			table.ahead = ahead
			table.mu.Unlock()
			there <- table.arrive(1, 0, page, 0)
		}()
		select {
		case err := <-there:
			must(t, err)
		case <-time.After(20 * time.Second):
			t.Errorf("read ahead %v: a page waits for those that are held", ahead)
		}
		table.close()
	}
}

// Reading in order ends where the link holds up a long first pass.
func TestMemoryIsReadAheadWhenThatIsTheBetterWay(t *testing.T) {
	for _, c := range []struct {
		busySince time.Duration // 0: the link is not
		ahead     bool
	}{
		{time.Hour, true},
		{0, false},
		{-time.Hour, false}, // a burst so far, however long this takes
	} {
		h, err := newHasher(make([]byte, 16))
		must(t, err)
		blocks := []stream.Block{{Name: "pc.ram", Size: 8 * (maxQueued + 1) * stream.PageSize}}
		r := rule{Has: policy.Traits{ReadAhead: true}}
		table := newTable(r, h, blocks, maxQueued, &memoryFile{file: sharedMemory(t, 1<<20)})
		if table.began = table.began.Add(-time.Hour); c.busySince != 0 {
			table.busy.since = time.Now().Add(-c.busySince)
		}
		there := make(chan error, 1)
		go func() {
			var err error
			for i := 0; err == nil && i <= maxQueued; i++ {
				err = table.arrive(0, uint64(i)*stream.PageSize, bytes.Repeat([]byte{1}, stream.PageSize), 0)
			}
			there <- err
		}()
		waits := false
		select {
		case err = <-there:
		case <-time.After(time.Second):
			waits = true
		}
		table.mu.Lock()
		ahead := table.ahead
		table.mu.Unlock()
		if err != nil || waits == c.ahead || ahead != c.ahead {
			t.Errorf("%+v: waits %v, ahead %v, %v", c, waits, ahead, err)
		}
		table.close()
	}
}
