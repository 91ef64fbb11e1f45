package gateway

import (
	"bytes"
	"slices"
	"testing"

	"bumpless/migrate/policy"
	"bumpless/migrate/stream"
)

// hotspotStride of a small guest, in pages.
const hotspotStride = 16

// spotted is a guest of so many pages that are in a memory file, and were looked at.
func spotted(t *testing.T, pages int) (*table, func(page int, fill byte)) {
	t.Helper()
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	file := sharedMemory(t, pages*stream.PageSize)
	write := func(page int, fill byte) {
		_, err := file.WriteAt(bytes.Repeat([]byte{fill}, stream.PageSize), int64(page)*stream.PageSize)
		must(t, err)
	}
	for page := range pages {
		write(page, byte(page)|1)
	}
	again := func(p policy.Page, _ uint32) bool { return p.Dirtied > 1 }
	blocks := []stream.Block{{Name: "pc.ram", Size: uint64(pages) * stream.PageSize}, {Name: "vram", Size: stream.PageSize}}
	b := newTable(rule{Has: policy.Traits{ReadAhead: true}, Holds: again}, h, blocks, 1000, &memoryFile{file: file})
	b.hotspots, err = lookForHotspots(b.memory)
	must(t, err)
	return b, write
}

// bring pages of the first block as the memory file has them.
func (b *table) bring(t *testing.T, pages int) {
	t.Helper()
	for at := range pages {
		var c content
		must(t, b.memory.read(uint64(at)*stream.PageSize, c[:]))
		must(t, b.arrive(0, uint64(at)*stream.PageSize, c[:], 0))
	}
}

func TestWhereTheGuestWritesIsSentLastInTheFirstPass(t *testing.T) {
	const pages = 6 * hotspotStride
	b, write := spotted(t, pages)
	write(2*hotspotStride, 200)   // seen
	write(4*hotspotStride+1, 201) // between two pages that are looked at
	b.bring(t, pages)
	b.page(t, 1, 0, 7) // another block than the memory file
	if held := b.pages.Held(); held != hotspotStride {
		t.Errorf("%d pages are held; want the %d around the one that was written", held, hotspotStride)
	}
	if b.stored != pages-hotspotStride+1 {
		t.Errorf("%d contents are kept; want none of those that are held, they are read when they are sent", b.stored)
	}
	write(2*hotspotStride+3, 202)
	first := b.takeAll(t)
	if i := slices.IndexFunc(first, func(s sent) bool { return s.block == 0 && s.index/hotspotStride == 2 }); i >= 0 {
		t.Errorf("page %d was sent with the rest", first[i].index)
	}
	b.passEnd(policy.Moment{})
	b.letGo()
	last := b.takeAll(t)
	if len(last) != hotspotStride || last[0].fill != 200 || last[3].fill != 202 {
		t.Errorf("let go: %v; want the %d pages as they are now", last, hotspotStride)
	}
}
