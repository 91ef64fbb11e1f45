package pages

import "testing"

// More memory is looked at in as many places.
func TestHotspotsOfALargeGuestAreBounded(t *testing.T) {
	for _, pages := range []int{0, 1, hotspotStride * maxHotspots, hotspotStride*maxHotspots + 1, 10 << 20} {
		looks := 0
		h, err := FindHotspots(pages, func(int) (int, error) { looks++; return 0, nil })
		if err != nil || looks > maxHotspots || pages > 0 && looks < min(maxHotspots/2, (pages+hotspotStride-1)/hotspotStride) {
			t.Errorf("%d pages: %d were looked at, %v; want up to %d", pages, looks, err, maxHotspots)
		}
		for now, page := range []int{0, h.stride * 5} {
			if page < pages && h.Around(page, func() int { return now }) != (now != 0) {
				t.Errorf("page %d of %d: looked like 0 and is %d; what lies around it is taken for the contrary", page, pages, now)
			}
		}
		if 5*h.stride+1 < pages && !h.Around(5*h.stride+1, nil) {
			t.Error("what lies behind a page that was written is not around it")
		}
	}
}
