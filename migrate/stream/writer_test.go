package stream

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func mustDo(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// copyStream re-emits a stream as the destination's gateway does.
func copyStream(t *testing.T, in []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	r, w := NewReader(bytes.NewReader(in), 4096), NewWriter(&out, 64)
	for {
		record, err := r.Next()
		mustDo(t, err)
		switch record.Kind {
		case Config, Command:
			mustDo(t, w.Raw(record.Raw))
		case RAMStart:
			_, err := w.Start(record.Raw)
			mustDo(t, err)
		case Page:
			mustDo(t, w.Page(record.Block, record.Offset, record.Data))
		case SectionEnd:
			mustDo(t, w.Flush())
		}
		if record.Last {
			state, err := r.Tail()
			mustDo(t, err, w.End(), w.Tail(state), w.Flush())
			return out.Bytes()
		}
	}
}

func TestWriterMakesWhatReaderReads(t *testing.T) {
	lines, state, err := readAll(NewReader(bytes.NewReader(copyStream(t, whole().Bytes())), 4096))
	pages := func(lines []string) []string {
		return slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return strings.HasPrefix(l, "end") })
	}
	if err != nil || !slices.Equal(pages(lines), pages(wholeLines)) {
		t.Errorf("%q, %v; want %q", lines, err, wholeLines)
	}
	if !bytes.Equal(state, tail("device {state}", `{"devices":[]}`)) {
		t.Errorf("device state = %q", state)
	}
}

// The same pages in any order, over any cut into sections, give the same memory.
func TestPagesInAnyOrderGiveTheSameMemory(t *testing.T) {
	type page struct {
		block int
		index uint64
	}
	var all []page
	for b := range testBlocks {
		for i := range testBlocks[b].Pages() {
			all = append(all, page{b, i})
		}
	}
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 0))
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var out bytes.Buffer
		out.Write(new(build).header().Bytes())
		w := NewWriter(&out, 4096)
		start := new(build).ramStart(testBlocks...).Bytes()
		_, err := w.Start(start)
		mustDo(t, err)
		want, have := map[page]byte{}, map[page]byte{}
		for _, p := range all {
			fill := byte(random.IntN(3))
			want[p] = fill
			var data []byte
			if fill != 0 {
				data = bytes.Repeat([]byte{fill}, PageSize)
			}
			mustDo(t, w.Page(p.block, p.index*PageSize, data))
			if random.IntN(8) == 0 {
				mustDo(t, w.Flush())
			}
		}
		mustDo(t, w.End(), w.Tail(tail("s", "{}")), w.Flush())
		r := NewReader(&out, 4096)
		for last := false; !last; {
			record, err := r.Next()
			mustDo(t, err)
			if last = record.Last; record.Kind == Page {
				fill := byte(0)
				if !record.Zero {
					fill = record.Data[0]
				}
				have[page{record.Block, record.Offset / PageSize}] = fill
			}
		}
		for p, fill := range want {
			if have[p] != fill {
				t.Fatalf("seed %d: page %v = %d; want %d", seed, p, have[p], fill)
			}
		}
	}
}

func TestWriterRefusesWhatIsNotRAM(t *testing.T) {
	w := NewWriter(new(bytes.Buffer), 4096)
	if err := w.Page(0, 0, nil); err == nil {
		t.Error("Page() before Start() = nil; want an error")
	}
	if err := w.Tail(nil); err == nil {
		t.Error("Tail() before End() = nil; want an error")
	}
	start := new(build).ramStart(testBlocks...).Bytes()
	for name, raw := range map[string][]byte{
		"nothing": nil, "a command": new(build).command(CommandPing, 0, 0, 0, 1).Bytes(), "half of it": start[:20],
		"more than it": append(slices.Clone(start), 0x08), "another section": new(build).u8(1).u32(1).name("slirp").u32(0).u32(4).Bytes(),
	} {
		if _, err := w.Start(raw); err == nil {
			t.Errorf("Start(%s) = nil; want an error", name)
		}
	}
	_, err := w.Start(start)
	mustDo(t, err)
	page := make([]byte, PageSize)
	for name, err := range map[string]error{
		"negative block": w.Page(-1, 0, page), "unknown block": w.Page(3, 0, page), "behind the block": w.Page(0, 64*PageSize, page),
		"crooked offset": w.Page(0, 8, page), "short page": w.Page(0, 0, page[:9]), "empty page that is not nil": w.Page(0, 0, page[:0]),
	} {
		if err == nil {
			t.Errorf("Page(%s) = nil; want an error", name)
		}
	}
	mustDo(t, w.End())
	if err := w.Page(0, 0, nil); err == nil {
		t.Error("Page() after End() = nil; want an error")
	}
}
