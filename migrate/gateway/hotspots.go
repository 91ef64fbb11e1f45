package gateway

import (
	"hash/maphash"

	"bumpless/migrate/policy"
	"bumpless/migrate/stream"
)

// hotspots tell where the guest is writing before its first pass is over. Some of its
// pages are hashed before QEMU's stream begins; where the stream brings one of them
// with another content, the guest writes there, and what it writes will come again.
//
// What a fast link's first pass brings is sent in order, since to read ahead takes CPU
// time: of a hot set, that is a copy too many.
//
// The hash is no proof of anything: a page that is taken for written goes later, and
// no more.
type hotspots struct {
	stride  uint64 // pages from one that is hashed to the next
	seed    maphash.Seed
	before  []uint64 // their hashes
	writing bool     // around the last one that came
}

const (
	// hotspotStride: of guests with much memory it is more.
	hotspotStride = policy.HotspotStride
	// maxHotspots are hashed: some 15 ms of CPU time.
	maxHotspots = 16384
)

// lookForHotspots hashes pages of the guest's memory.
func lookForHotspots(memory *memoryFile) (*hotspots, error) {
	size, err := memory.size()
	if err != nil {
		return nil, err
	}
	pages := uint64(size) / stream.PageSize
	h := &hotspots{stride: max(hotspotStride, (pages+maxHotspots-1)/maxHotspots), seed: maphash.MakeSeed()}
	var page content
	for at := uint64(0); at < pages; at += h.stride {
		if err := memory.read(at, &page); err != nil {
			return nil, err
		}
		h.before = append(h.before, maphash.Bytes(h.seed, page[:]))
	}
	return h, nil
}

// around tells whether the guest is writing around a page that the first pass has
// brought; data is nil for a page of zeros.
func (h *hotspots) around(page uint64, data []byte) bool {
	if h == nil {
		return false
	}
	if at := page / h.stride; page%h.stride == 0 && at < uint64(len(h.before)) {
		if data == nil {
			data = zeros[:]
		}
		h.writing = maphash.Bytes(h.seed, data) != h.before[at]
	}
	return h.writing
}
