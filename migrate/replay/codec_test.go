package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

func small() Trace {
	return Trace{Pages: 1000, Passes: []Pass{
		{At: 0, Spans: []Span{{0, 3, Packed(100)}, {3, 1, Packed(PageSize)}, {900, 100, Packed(2000)}}},
		{At: 200 * time.Millisecond},
		{At: 400*time.Millisecond + time.Microsecond, Spans: []Span{{0, 1, Zero}, {1, 1, Unchanged}, {999, 1, Packed(PageSize)}}},
	}}
}

// The file is what version 1 has always been.
const smallFile = "BTRC\x01\xe8\x07\x03" + "\x00\x03\x00\x03\x02\x00\x01\x11\x80\x07\x64\x09" + "\xc0\x9a\x0c\x00" + "\xc1\x9a\x0c\x03\x00\x01\x00\x00\x01\x01\xe5\x07\x01\x11"

func TestATraceIsEncodedAsVersion1(t *testing.T) {
	file, err := small().Encode()
	if err != nil || string(file) != smallFile {
		t.Fatalf("Encode() = %q, %v; want %q", file, err, smallFile)
	}
	trace, err := Decode([]byte(smallFile))
	if err != nil || !reflect.DeepEqual(trace, small()) {
		t.Errorf("Decode() = %+v, %v; want %+v", trace, err, small())
	}
}

func TestTheRecordedTraceComesBackByteForByte(t *testing.T) {
	file, err := os.ReadFile("testdata/prot.trace")
	if err != nil {
		t.Fatal(err)
	}
	again, err := traceOf(t, "prot").Encode()
	if err != nil || !bytes.Equal(file, again) {
		t.Errorf("%d bytes, %v; want the %d bytes of the file", len(again), err, len(file))
	}
	if len(file) > 200_000 {
		t.Errorf("the recorded trace has %d bytes; at most 200000 belong here", len(file))
	}
}

func TestBadFilesAreRefusedWithTheOffset(t *testing.T) {
	huge := binary.AppendUvarint(nil, 1<<40)
	for _, c := range []struct{ name, file, want string }{
		{"empty", "", "offset 0: not a trace"},
		{"another format", "BTRD\x01\x01\x01\x00\x00", "offset 0: not a trace"},
		{"a later version", "BTRC\x02\x01\x01\x00\x00", "version 2, this release reads 1"},
		{"no page", "BTRC\x01\x00\x01\x00\x00", "0 pages"},
		{"too many pages", "BTRC\x01" + string(huge), "offset 5: pages: more than 16777216"},
		{"no pass", "BTRC\x01\x01\x00", "0 passes"},
		{"more passes than bytes", "BTRC\x01\x01\xff\x01\x00\x00", "255 passes in 2 bytes: truncated"},
		{"more spans than bytes", "BTRC\x01\xff\x01\x01\x00\x7f\x00\x01\x02", "127 spans in 3 bytes: truncated"},
		{"cut off", smallFile[:len(smallFile)-1], "truncated"},
		{"something behind", smallFile + "\x00", "1 bytes are left"},
		{"a span of nothing", "BTRC\x01\x05\x01\x00\x01\x00\x00\x02", "span 0 is empty"},
		{"a span past the end", "BTRC\x01\x05\x01\x00\x01\x02\x04\x02", "a span ends at page 6, the guest has 5"},
		{"an unknown class", "BTRC\x01\x05\x01\x00\x01\x00\x01\x12", "unknown class 18"},
		{"a number in a longer form", "BTRC\x01\x85\x00\x01\x00\x00", "offset 5: pages: not the shortest form"},
		{"a number without an end", "BTRC\x01\xff", "offset 5: pages: truncated"},
		{"a time of years", "BTRC\x01\x01\x01" + string(huge) + "\x00", "time: more than"},
	} {
		if _, err := Decode([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Decode() = %v; want %q", c.name, err, c.want)
		}
	}
	for n := range len(smallFile) {
		if _, err := Decode([]byte(smallFile[:n])); err == nil {
			t.Errorf("the first %d bytes were decoded", n)
		}
	}
	if _, err := Decode([]byte(smallFile[:len(smallFile)-2])); !errors.Is(err, ErrTruncated) {
		t.Errorf("Decode() = %v; want ErrTruncated", err)
	}
}

func TestATraceThatIsWrongIsNotWritten(t *testing.T) {
	for name, change := range map[string]func(*Trace){
		"no pages":         func(t *Trace) { t.Pages = 0 },
		"no passes":        func(t *Trace) { t.Passes = nil },
		"too many passes":  func(t *Trace) { t.Passes = make([]Pass, MaxPasses+1) },
		"time goes back":   func(t *Trace) { t.Passes[2].At = 0 },
		"parts of a µs":    func(t *Trace) { t.Passes[1].At++ },
		"all at once":      func(t *Trace) { t.Passes[1].At, t.Passes[2].At = 0, 0 },
		"a day too long":   func(t *Trace) { t.Passes[2].At = 25 * time.Hour },
		"spans overlap":    func(t *Trace) { t.Passes[0].Spans[1].First = 2 },
		"spans wrap":       func(t *Trace) { t.Passes[0].Spans[2].Count = 1<<32 - 900 },
		"an empty span":    func(t *Trace) { t.Passes[0].Spans[0].Count = 0 },
		"an unknown class": func(t *Trace) { t.Passes[0].Spans[0].Class = maxClass + 1 },
	} {
		bad := small()
		change(&bad)
		if _, err := bad.Encode(); err == nil {
			t.Errorf("%s: Encode() = nil; want an error", name)
		}
		if _, err := Run(bad, "precopy", Defaults()); err == nil {
			t.Errorf("%s: Run() = nil; want an error", name)
		}
	}
}

func TestClassesOfContents(t *testing.T) {
	for _, c := range []struct {
		packed int
		bytes  int64
	}{{0, 256}, {1, 256}, {256, 256}, {257, 512}, {2048, 2048}, {4095, 4096}, {4096, 4096}, {5000, 4096}} {
		if got := Packed(c.packed).Bytes(); got != c.bytes {
			t.Errorf("Packed(%d).Bytes() = %d; want %d", c.packed, got, c.bytes)
		}
	}
	if Zero.Bytes() != 0 || Unchanged.Bytes() != 0 || Packed(PageSize) != maxClass {
		t.Errorf("Zero %d, Unchanged %d, the last class %d; want 0, 0, %d", Zero.Bytes(), Unchanged.Bytes(), Packed(PageSize), maxClass)
	}
}

func TestPagesInARowAreOneSpan(t *testing.T) {
	var p Pass
	for _, page := range []uint32{1, 2, 3, 5, 6} {
		p.Add(page, Zero)
	}
	p.Add(7, Unchanged)
	if want := []Span{{1, 3, Zero}, {5, 2, Zero}, {7, 1, Unchanged}}; !reflect.DeepEqual(p.Spans, want) {
		t.Errorf("%v; want %v", p.Spans, want)
	}
}

// What is decoded is written back as the same bytes, and can be replayed.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(smallFile))
	f.Add([]byte("BTRC\x01\x05\x01\x00\x01\x00\x05\x02"))
	f.Fuzz(func(t *testing.T, file []byte) {
		trace, err := Decode(file)
		if err != nil {
			return
		}
		again, err := trace.Encode()
		if err != nil || !bytes.Equal(again, file) {
			t.Fatalf("%q became %q, %v", file, again, err)
		}
		s := Defaults()
		s.Timeout = time.Second
		if trace.Pages > 4096 || len(trace.Passes) > 100 {
			return
		}
		if f, err := Run(trace, "bumpless", s); err != nil || f.Outcome == "" {
			t.Fatalf("%q: %+v, %v", file, f, err)
		}
	})
}
