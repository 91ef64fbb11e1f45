package replay

import "bumpless/migrate/policy"

// hotspots are what the gateway knows of where a guest writes before its first pass is
// over: what some of its pages held before.
type hotspots struct {
	before  []content // of every policy.HotspotStride-th page
	writing bool      // around the last one that came
}

func lookForHotspots(m *memory) *hotspots {
	h := &hotspots{}
	for page := 0; page < len(m.content); page += policy.HotspotStride {
		h.before = append(h.before, m.content[page])
	}
	return h
}

// around tells whether the guest is writing around a page that the first pass brings.
func (h *hotspots) around(page uint32, now content) bool {
	if h == nil {
		return false
	}
	if page%policy.HotspotStride == 0 {
		h.writing = h.before[page/policy.HotspotStride] != now
	}
	return h.writing
}
