package pages

// Hotspots tell where a guest is writing before its first pass is over. Some of its
// pages are looked at before QEMU's stream begins; where the stream brings one of them
// with another content, the guest writes there, and what it writes will come again.
//
// What a fast link's first pass brings is sent in order, since to read ahead takes CPU
// time: of a hot set, that is a copy too many.
//
// A page that is taken for written by mistake goes later, and no more: a Look need not
// be a proof of a content.
type Hotspots[Look comparable] struct {
	stride  int    // pages from one that is looked at to the next
	before  []Look // of those
	writing bool   // around the last one that came
}

const (
	// hotspotStride is one page of 64 KiB; of guests with much memory it is more.
	hotspotStride = 16
	// maxHotspots are looked at: where that is a hash, some 15 ms of CPU time.
	maxHotspots = 16384
)

// FindHotspots of a guest with so many pages.
func FindHotspots[Look comparable](pages int, look func(page int) (Look, error)) (*Hotspots[Look], error) {
	h := &Hotspots[Look]{stride: max(hotspotStride, (pages+maxHotspots-1)/maxHotspots)}
	for page := 0; page < pages; page += h.stride {
		is, err := look(page)
		if err != nil {
			return nil, err
		}
		h.before = append(h.before, is)
	}
	return h, nil
}

// Around tells whether the guest is writing around a page that the first pass has
// brought, which looks like that now. Of nil hotspots nothing is known.
func (h *Hotspots[Look]) Around(page int, now func() Look) bool {
	if h == nil {
		return false
	}
	if page%h.stride == 0 {
		h.writing = h.before[page/h.stride] != now()
	}
	return h.writing
}
