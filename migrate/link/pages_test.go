package link

import (
	"bytes"
	"reflect"
	"testing"
)

func content(fill byte) []byte { return bytes.Repeat([]byte{fill}, PageSize) }

func TestBatchesRoundTrip(t *testing.T) {
	var zeros []Page
	for i := range maxZeroPages {
		zeros = append(zeros, Page{Kind: Zero, Index: uint32(i), Version: 1})
	}
	for name, pages := range map[string][]Page{
		"none": {}, "one": {{Block: 1, Index: 2, Version: 3, Data: content(4)}}, "zero pages": zeros,
		"mixed":           {{0, Whole, 1<<32 - 1, 1<<32 - 1, 0, 0, content(1)}, {255, Zero, 0, 1, 0, 0, nil}, {3, Whole, 9, 2, 0, 0, content(2)}},
		"kept and deltas": {{0, Keep, 5, 1, 1<<32 - 1, 0, content(1)}, {0, Delta, 6, 2, 7, 0, []byte{1, 2, 3}}, {0, Delta, 7, 9, 0, 0, []byte{}}, {0, Whole, 8, 1, 0, 0, content(2)}},
		"same and zeros":  {{0, Same, 5, 1, 1<<32 - 1, 0, nil}, {0, Zeros, 6, 2, 0, 1<<16 - 1, nil}, {0, Zeros, 7, 9, 0, 0, nil}, {0, Same, 8, 1, 0, 0, nil}},
	} {
		got, err := ReadPages(AppendPages(nil, pages), len(pages), nil)
		if err != nil || len(got) != len(pages) || (len(pages) > 0 && !reflect.DeepEqual(got, pages)) {
			t.Errorf("%s: ReadPages() = %d pages, %v; want the %d that were written", name, len(got), err, len(pages))
		}
	}
}

func TestABatchOfWholePagesAndTheLongestDeltasFitsItsFrame(t *testing.T) {
	var pages []Page
	for range MaxShortPages / 2 {
		pages = append(pages, Page{Kind: Keep, Data: content(1)}, Page{Kind: Delta, Data: make([]byte, maxDelta)})
	}
	if n := len(AppendPages(nil, pages)); n > maxBatch {
		t.Errorf("a full batch has %d bytes; want at most %d", n, maxBatch)
	}
}

func TestMalformedBatchesAreRefused(t *testing.T) {
	good := AppendPages(nil, []Page{{Version: 1, Data: content(1)}, {Kind: Zero, Index: 1, Version: 1}})
	kind := bytes.Clone(good)
	kind[1] = byte(LastKind) + 1
	kept := AppendPages(nil, []Page{{Kind: Keep, Data: content(1)}, {Kind: Delta, Data: []byte{1, 2}}})
	same := AppendPages(nil, []Page{{Kind: Same, Slot: 1}, {Kind: Zeros, More: 7}})
	for name, c := range map[string]struct {
		body  []byte
		count int
	}{
		"fewer pages than bytes": {good, 1}, "more pages than bytes": {good, 3}, "truncated heads": {good[:15], 2},
		"truncated content": {good[:len(good)-1], 2}, "truncated delta": {kept[:len(kept)-1], 2}, "no delta": {kept[:len(kept)-3], 2}, "no slot": {kept[:len(kept)-5], 2},
		"half a slot of same": {same[:len(same)-5], 2}, "no number of zeros": {same[:len(same)-2], 2}, "truncated zeros": {same[:len(same)-1], 2}, "a byte too many": {append(bytes.Clone(good), 0), 2},
		"unknown kind": {kind, 2}, "too many pages": {make([]byte, (maxZeroPages+1)*pageHead), maxZeroPages + 1}, "bytes without pages": {good, 0},
	} {
		if pages, err := ReadPages(c.body, c.count, nil); err == nil {
			t.Errorf("%s: ReadPages() = %d pages; want an error", name, len(pages))
		}
	}
}

func FuzzReadPages(f *testing.F) {
	f.Add(AppendPages(nil, []Page{{Version: 1, Data: content(1)}, {Kind: Zero, Index: 1, Version: 1}}), uint16(2))
	f.Add(AppendPages(nil, []Page{{Kind: Keep, Slot: 3, Data: content(1)}, {Kind: Delta, Slot: 3, Data: []byte{1, 2}}}), uint16(2))
	f.Add(AppendPages(nil, []Page{{Kind: Keep, Slot: 3, Data: content(1)}, {Kind: Same, Slot: 3}, {Kind: Zeros, More: 9}}), uint16(3))
	f.Fuzz(func(t *testing.T, body []byte, count uint16) {
		pages, err := ReadPages(body, int(count), nil)
		if err == nil && !bytes.Equal(AppendPages(nil, pages), body) {
			t.Fatal("a batch that was read is not the batch that is written again")
		}
	})
}
