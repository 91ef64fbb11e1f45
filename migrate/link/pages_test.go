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
		zeros = append(zeros, Page{Index: uint32(i), Version: 1})
	}
	for name, pages := range map[string][]Page{
		"none": {}, "one": {{1, 2, 3, content(4)}}, "zero pages": zeros,
		"mixed": {{0, 1<<32 - 1, 1<<32 - 1, content(1)}, {255, 0, 1, nil}, {3, 9, 2, content(2)}},
	} {
		got, err := ReadPages(AppendPages(nil, pages), len(pages), nil)
		if err != nil || len(got) != len(pages) || (len(pages) > 0 && !reflect.DeepEqual(got, pages)) {
			t.Errorf("%s: ReadPages() = %d pages, %v; want the %d that were written", name, len(got), err, len(pages))
		}
	}
}

func TestAFullBatchFitsItsFrame(t *testing.T) {
	var pages []Page
	for i := range 4 * MaxBatchPages {
		p := Page{Index: uint32(i)}
		if i < MaxBatchPages {
			p.Data = content(1)
		}
		pages = append(pages, p)
	}
	if n := len(AppendPages(nil, pages)); n > maxBatch {
		t.Errorf("a full batch has %d bytes; want at most %d", n, maxBatch)
	}
}

func TestMalformedBatchesAreRefused(t *testing.T) {
	good := AppendPages(nil, []Page{{0, 0, 1, content(1)}, {0, 1, 1, nil}})
	kind := bytes.Clone(good)
	kind[1] = 2
	for name, c := range map[string]struct {
		body  []byte
		count int
	}{
		"fewer pages than bytes": {good, 1}, "more pages than bytes": {good, 3}, "truncated heads": {good[:15], 2},
		"truncated content": {good[:len(good)-1], 2}, "a byte too many": {append(bytes.Clone(good), 0), 2},
		"unknown kind": {kind, 2}, "too many pages": {make([]byte, (maxZeroPages+1)*pageHead), maxZeroPages + 1}, "bytes without pages": {good, 0},
	} {
		if pages, err := ReadPages(c.body, c.count, nil); err == nil {
			t.Errorf("%s: ReadPages() = %d pages; want an error", name, len(pages))
		}
	}
}

func FuzzReadPages(f *testing.F) {
	f.Add(AppendPages(nil, []Page{{0, 0, 1, content(1)}, {0, 1, 1, nil}}), uint16(2))
	f.Fuzz(func(t *testing.T, body []byte, count uint16) {
		pages, err := ReadPages(body, int(count), nil)
		if err == nil && !bytes.Equal(AppendPages(nil, pages), body) {
			t.Fatal("a batch that was read is not the batch that is written again")
		}
	})
}
