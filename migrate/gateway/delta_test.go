package gateway

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"bumpless/migrate/link"
	"bumpless/migrate/stream"
)

// moving is a guest's memory between a table and a destination, over
// connections that a test delays against each other.
type moving struct {
	t      *testing.T
	random *rand.Rand
	table  *table
	slots  []*slots
	keep   []*keeper
	wires  [][]link.Frame // under way on each connection
	dst    *destination
	out    bytes.Buffer // what the destination's QEMU is handed
	shared *os.File     // its memory, of every other seed, of every fourth one mapped; nil: all pages go through out
	kinds  map[link.Kind]int
	bare   bool // some contents are sent for the first time without being kept
}

const movingPages = 160

var movingBlocks = []stream.Block{{Name: "pc.ram", Size: movingPages * stream.PageSize}}

func newMoving(t *testing.T, seed uint64, connections, slotsEach int, last link.Kind) *moving {
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	m := &moving{t: t, random: rand.New(rand.NewPCG(seed, 1)), wires: make([][]link.Frame, connections), kinds: map[link.Kind]int{}}
	m.table = newTable(rule{}, h, movingBlocks, 1000, nil)
	m.table.carry(connections, slotsEach > 0, last)
	for range connections {
		m.slots = append(m.slots, newSlots(slotsEach, last >= link.Same))
	}
	m.dst = &destination{hasher: h, cfg: DestinationConfig{RAMBytes: 1 << 30}, out: stream.NewWriter(&m.out, 4096), started: make(chan struct{})}
	if seed%2 == 1 {
		m.shared = sharedMemory(t, movingPages*stream.PageSize)
		m.dst.ram, err = openRAM(os.Getpid())
		must(t, err)
	}
	if seed%4 == 1 {
		must(t, takeMemory(m.shared))
		if m.dst.ram.mapped = mapMemory(m.dst.ram.file); m.dst.ram.mapped == nil {
			t.Fatal("the memory was not mapped")
		}
	}
	for range connections {
		m.keep = append(m.keep, m.dst.newKeeper(slotsEach))
	}
	must(t, m.dst.passOn(configFrame))
	must(t, m.dst.passOn(startFrame(movingPages*stream.PageSize)))
	return m
}

// send takes a batch for a connection, if there is one.
func (m *moving) send(connection int) {
	if _, some := m.table.pages.Line(connection); !some {
		return
	}
	var b batch
	ok, err := m.table.take(connection, &b)
	for more := ok; more && err == nil; more, err = m.table.more(connection, &b) {
		m.shorten(connection, &b)
	}
	if must(m.t, err); !ok {
		m.t.Fatal("take() = false")
	}
	m.put(connection, &b)
}

// pack is the rest of send, for a batch that was taken.
func (m *moving) pack(connection int, b *batch) {
	m.shorten(connection, b)
	m.put(connection, b)
}

func (m *moving) shorten(connection int, b *batch) {
	for i := range b.contents {
		b.contents[i].bare = m.bare && m.random.IntN(2) == 0
	}
	m.slots[connection].rememberAndShorten(b)
}

func (m *moving) put(connection int, b *batch) {
	for _, p := range b.pages {
		m.kinds[p.Kind]++
	}
	m.wires[connection] = append(m.wires[connection], link.Frame{Count: uint16(len(b.pages)), Body: link.AppendPages(nil, b.pages)})
	m.table.put(b)
}

// deliver the oldest batch of a connection.
func (m *moving) deliver(connection int) {
	if len(m.wires[connection]) == 0 {
		return
	}
	f := m.wires[connection][0]
	m.wires[connection] = m.wires[connection][1:]
	pages, err := link.ReadPages(f.Body, int(f.Count), nil)
	must(m.t, err)
	must(m.t, m.keep[connection].restore(pages))
	must(m.t, m.dst.apply(m.keep[connection], pages))
}

// finish sends and delivers the rest, and compares.
func (m *moving) finish(seed uint64, guest map[uint64][]byte) {
	for c := 0; m.table.pages.Queued() > 0; c = (c + 1) % len(m.wires) {
		m.send(c)
	}
	for c := range m.wires {
		for len(m.wires[c]) > 0 {
			m.deliver(c)
		}
	}
	if m.table.digest() != m.dst.sum {
		m.t.Errorf("seed %d: the digests differ", seed)
	}
	memory := m.memory()
	for offset, want := range guest {
		if memory[offset] != string(want) {
			m.t.Fatalf("seed %d: page 0x%x differs: %d bytes of %x, want %d of %x", seed, offset, len(memory[offset]), []byte(memory[offset])[:min(2, len(memory[offset]))], len(want), want[:min(2, len(want))])
		}
	}
	if m.shared != nil {
		m.dst.ram.close()
		must(m.t, m.shared.Close()) // two files could not be told apart
	}
}

// memory as the destination's QEMU has it.
func (m *moving) memory() map[uint64]string {
	must(m.t, m.dst.out.End())
	must(m.t, m.dst.out.Flush())
	r, memory := stream.NewReader(&m.out, 8192), map[uint64]string{}
	if m.shared != nil {
		memory = readMemory(m.t, m.shared)
	}
	for {
		record, err := r.Next()
		must(m.t, err)
		switch {
		case record.Last:
			return memory
		case record.Kind == stream.Page && m.shared != nil:
			m.t.Fatalf("page 0x%x went through QEMU; want it in the memory that QEMU shares", record.Offset)
		case record.Kind == stream.Page:
			memory[record.Offset] = string(record.Data)
		}
	}
}

// Whatever the connections do to the order, and however little is kept, what
// the destination is handed is the guest's memory, and the digests agree.
func TestDeltasLeadToTheGuestsMemoryInAnyOrder(t *testing.T) {
	deltas := 0
	for seed := range uint64(60) {
		connections, slotsEach := 1+int(seed%3), []int{0, 1, 5, movingPages}[seed/3%4]
		m := newMoving(t, seed, connections, slotsEach, link.Delta)
		m.bare = seed%5 < 2
		guest := map[uint64][]byte{}
		for range 600 {
			switch c := m.random.IntN(connections); m.random.IntN(4) {
			case 0, 1:
				offset := m.random.Uint64N(movingPages) * stream.PageSize
				must(t, m.table.arrive(0, offset, m.write(guest, offset), 0))
			case 2:
				m.send(c)
			case 3:
				m.deliver(c)
			}
		}
		m.finish(seed, guest)
		deltas += m.kinds[link.Delta]
		if m.kinds[link.Same]+m.kinds[link.Zeros] > 0 {
			t.Errorf("seed %d: %v; want no kinds that the destination does not know", seed, m.kinds)
		}
		if slotsEach == 0 && m.kinds[link.Delta]+m.kinds[link.Keep] > 0 {
			t.Errorf("seed %d: %v; want no deltas without slots", seed, m.kinds)
		}
	}
	if deltas < 1000 {
		t.Errorf("%d deltas in all; want at least 1000, or nothing was shown", deltas)
	}
}

// write changes a page: a few bytes, all of it, or to zeros (nil).
func (m *moving) write(guest map[uint64][]byte, offset uint64) []byte {
	page := bytes.Clone(guest[offset])
	if page == nil {
		page = make([]byte, stream.PageSize)
	}
	switch m.random.IntN(8) {
	case 0:
		guest[offset] = nil
		return nil
	case 1:
		for i := range page {
			page[i] = byte(m.random.Uint32())
		}
	default:
		page[m.random.IntN(len(page))] = byte(1 + m.random.IntN(255))
	}
	guest[offset] = page
	return page
}

func TestPagesThatAreSentAgainAreKeptLongest(t *testing.T) {
	s := newSlots(3, true)
	send := func(index int, fill byte) link.Kind {
		c := new(content)
		c[0] = fill
		b := batch{pages: []link.Page{{Kind: link.Keep, Index: uint32(index), Data: c[:]}}, contents: []leaving{{content: c, hash: contentHash{uint64(index), uint64(fill)}}}}
		s.rememberAndShorten(&b)
		return b.pages[0].Kind
	}
	send(1, 1)
	send(1, 2)
	for i := range 10 {
		send(100+i, 1)
		if kind := send(1, byte(3+i)); kind != link.Delta {
			t.Errorf("page 1 goes as kind %d after %d others; want a delta", kind, i+1)
		}
	}
	if s.kept.n != 3 || len(s.at) != 3 {
		t.Errorf("%d contents of %d pages are kept; want 3", s.kept.n, len(s.at))
	}
}

func TestContentsAreTheSameOnlyIfTheirWholeHashesAre(t *testing.T) {
	s := newSlots(3, true)
	for i, c := range []struct {
		hash contentHash
		want link.Kind
	}{{contentHash{1, 1}, link.Keep}, {contentHash{1, 2}, link.Keep}, {contentHash{1, 2}, link.Same}, {contentHash{1, 1}, link.Keep}} {
		data := new(content)
		b := batch{pages: []link.Page{{Kind: link.Keep, Index: uint32(i), Data: data[:]}}, contents: []leaving{{content: data, hash: c.hash}}}
		s.rememberAndShorten(&b)
		if got := b.pages[0].Kind; got != c.want {
			t.Errorf("content %d with hash %v goes as kind %d; want %d", i, c.hash, got, c.want)
		}
	}
}

// A page that is sent once over a fast link costs no memory of the source, and those
// with the same content share it all the same.
func TestABarePageGoesWholeASecondTimeAndAsDeltasFromThenOn(t *testing.T) {
	s := newSlots(3, true)
	for i, c := range []struct {
		index uint32
		fill  byte
		want  link.Kind
		spare int
	}{{1, 1, link.Keep, 1}, {2, 1, link.Same, 1}, {1, 2, link.Keep, 0}, {1, 3, link.Delta, 1}, {3, 3, link.Same, 1}} {
		data := new(content)
		data[0] = c.fill
		b := batch{pages: []link.Page{{Kind: link.Keep, Index: c.index, Data: data[:]}}, at: []int{0}, contents: []leaving{{data, contentHash{uint64(c.fill)}, true}}}
		s.rememberAndShorten(&b)
		if got := b.pages[0].Kind; got != c.want || len(b.spare) != c.spare {
			t.Errorf("sending %d: page %d goes as kind %d and %d contents are spare; want %d and %d", i, c.index, got, len(b.spare), c.want, c.spare)
		}
	}
}

// A release without deltas says nothing of slots in its HELLO.
func TestADestinationThatKeepsNothingGetsTheGuestAllTheSame(t *testing.T) {
	for _, c := range [][2]int{{-1, 0}, {0, -1}, {1, 1}} {
		b := newBench(t)
		b.source.Policy, b.src.hot = "bumpless", 40
		b.source.DeltaCacheMiB, b.destination.DeltaCacheMiB = c[0], c[1]
		b.begin()
		if s, d := b.result(0), b.result(1); s.Outcome != Moved || d.Outcome != Moved || !s.DigestEqual {
			t.Errorf("caches of %v MiB: %s %q, %s %q; want moved", c, s.Outcome, s.Reason, d.Outcome, d.Reason)
		}
		b.guest("dst")
	}
}
