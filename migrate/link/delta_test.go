package link

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestADeltaIsWhatQEMUWouldDecode(t *testing.T) {
	base, page := make([]byte, PageSize), make([]byte, PageSize)
	copy(page[0x100:], "changed!")
	page[PageSize-1] = 7
	got, ok := AppendDelta(nil, base, page)
	// 256 bytes are the same, 8 are not; 3824 are the same, 8 are not.
	want := append([]byte{0x80, 0x02, 8}, "changed!"...)
	want = append(want, 0xf0, 0x1d, 8, 0, 0, 0, 0, 0, 0, 0, 7)
	if !ok || !bytes.Equal(got, want) {
		t.Errorf("AppendDelta() = %x, %v; want %x", got, ok, want)
	}
}

func TestDeltasLeadToThePage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, writes := range []int{0, 1, 2, 10, 50, 200} {
		for range 50 {
			base := make([]byte, PageSize)
			for i := range base {
				base[i] = byte(random.Uint32())
			}
			page := bytes.Clone(base)
			for range writes {
				page[random.IntN(PageSize)] ^= byte(random.Uint32())
			}
			delta, ok := AppendDelta([]byte("head"), base, page)
			if !ok {
				if writes < 50 || string(delta) != "head" {
					t.Fatalf("%d writes: no delta, %d bytes", writes, len(delta))
				}
				continue
			}
			if err := ApplyDelta(base, delta[4:]); err != nil || !bytes.Equal(base, page) || len(delta)-4 > maxDelta {
				t.Fatalf("%d writes: ApplyDelta() = %v, %d bytes; want the page, at most %d", writes, err, len(delta)-4, maxDelta)
			}
		}
	}
	if _, ok := AppendDelta(nil, make([]byte, PageSize), content(1)); ok {
		t.Error("a page that is all new has a delta; want none")
	}
}

func TestMalformedDeltasAreRefused(t *testing.T) {
	for name, delta := range map[string][]byte{
		"half a run":         {0x80},
		"no second run":      {8},
		"a run of 3 bytes":   {0x80, 0x80, 1, 1, 0},
		"nothing changed":    {8, 0},
		"truncated":          {0, 4, 1, 2, 3},
		"past the end":       {0xff, 0x1f, 2, 1, 2},
		"skips past the end": {0xff, 0x7f, 1, 1},
	} {
		if err := ApplyDelta(make([]byte, PageSize), delta); err == nil {
			t.Errorf("%s: ApplyDelta() = nil; want an error", name)
		}
	}
}

func FuzzApplyDelta(f *testing.F) {
	f.Add([]byte{0x80, 0x02, 2, 'a', 'b'})
	f.Fuzz(func(t *testing.T, delta []byte) {
		page := make([]byte, PageSize+16)
		base := bytes.Clone(page[:PageSize])
		if err := ApplyDelta(page[:PageSize:PageSize], delta); err != nil {
			return
		}
		if !bytes.Equal(page[PageSize:], make([]byte, 16)) {
			t.Fatal("written past the page")
		}
		if again, ok := AppendDelta(nil, base, page[:PageSize]); ok {
			if err := ApplyDelta(base, again); err != nil || !bytes.Equal(base, page[:PageSize]) {
				t.Fatalf("a delta that was made again leads elsewhere: %v", err)
			}
		}
	})
}

func BenchmarkDelta(b *testing.B) {
	base := content(1)
	page := bytes.Clone(base)
	copy(page[1000:], make([]byte, 64))
	b.SetBytes(PageSize)
	var delta []byte
	for b.Loop() {
		delta, _ = AppendDelta(delta[:0], base, page)
	}
}
