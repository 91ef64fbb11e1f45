package gateway

import (
	"math/rand/v2"
	"testing"

	"bumpless/migrate/link"
	"bumpless/migrate/policy"
	"bumpless/migrate/stream"
)

func TestTheEstimateKnowsWhatIsHeld(t *testing.T) {
	noise := rand.NewChaCha8([32]byte{1})
	random := func() []byte {
		b := make([]byte, stream.PageSize)
		_, _ = noise.Read(b) // never fails
		return b
	}
	for _, c := range []struct {
		name     string
		change   func(b []byte) []byte // of what was sent before
		min, max float64
	}{
		{"all is new, and random", func([]byte) []byte { return random() }, 0.99, 1.01},
		{"all is new, and the same byte", func([]byte) []byte { return pageOf(7) }, 0, 0.05},
		{"a few bytes of what was sent", func(b []byte) []byte { b[100] ^= 1; b[3000] ^= 1; return b }, 0, 0.03},
	} {
		h, err := newHasher(make([]byte, 16))
		must(t, err)
		hold := false
		tab := newTable(rule{hold: func(policy.Page, uint32) bool { return hold }}, h, []stream.Block{{Name: "pc.ram", Size: 100 * stream.PageSize}}, 1000)
		tab.carry(1)
		send := newSender(nil, nil, true)
		send.kept = []*slots{newSlots(100)}
		compressor, err := link.NewCompressor()
		must(t, err)
		p := prober{send: send, compressor: compressor}
		if _, any := p.ratio(tab); any {
			t.Errorf("%s: there is a ratio although nothing is held", c.name)
		}
		contents := make([][]byte, 100)
		for i := range contents {
			contents[i] = random()
			must(t, tab.arrive(0, uint64(i)*stream.PageSize, contents[i], 0))
		}
		for tab.queued() > 0 {
			var b batch
			tab.take(0, &b)
			send.kept[0].rememberAndShorten(&b)
			tab.put(&b)
		}
		hold = true
		for i := range contents {
			must(t, tab.arrive(0, uint64(i)*stream.PageSize, c.change(contents[i]), 0))
		}
		for range 2 { // to try is to change nothing
			if got, any := p.ratio(tab); !any || got < c.min || got > c.max {
				t.Errorf("%s: ratio %.3f, %v; want %.2f to %.2f", c.name, got, any, c.min, c.max)
			}
		}
		s := source{table: tab, send: send, prober: &p}
		of, _ := p.ratio(tab)
		send.shrunk.add(1000, 500)
		if got, want := s.ratio(load{heldBytes: 4096, contentBytes: 4096}, 1), (of+0.5)/2; got != want {
			t.Errorf("%s: ratio of one held and one fresh page = %.3f; want %.3f", c.name, got, want)
		}
	}
}
