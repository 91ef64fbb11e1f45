package gateway

import (
	"hash/maphash"

	"bumpless/migrate/pages"
	"bumpless/migrate/stream"
)

// hotspots of a guest whose memory can be read, by hashes of its pages.
type hotspots struct {
	*pages.Hotspots[uint64]
	seed maphash.Seed
}

// lookForHotspots hashes pages of the guest's memory.
func lookForHotspots(memory *memoryFile) (*hotspots, error) {
	size, err := memory.size()
	if err != nil {
		return nil, err
	}
	h := &hotspots{seed: maphash.MakeSeed()}
	var page content
	h.Hotspots, err = pages.FindHotspots(int(size/stream.PageSize), func(at int) (uint64, error) {
		err := memory.read(uint64(at)*stream.PageSize, page[:])
		return maphash.Bytes(h.seed, page[:]), err
	})
	return h, err
}

// around tells whether the guest is writing around a page that the first pass has
// brought; data is nil for a page of zeros.
func (h *hotspots) around(page uint64, data []byte) bool {
	if h == nil {
		return false
	}
	return h.Around(int(page), func() uint64 {
		if data == nil {
			data = zeros[:]
		}
		return maphash.Bytes(h.seed, data)
	})
}
