package goose

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bumpless/iec61850/ber"
)

// example has every kind of data.
func example() Frame {
	return Frame{APPID: 0x3001, PDU: PDU{
		GocbRef: "P1LD0/LLN0$GO$gcb1", TimeAllowedToLiveMs: 1500, DatSet: "P1LD0/LLN0$ds1", GoID: "trip",
		T: Timestamp{Seconds: 1700000000, Fraction: 0x800000, Quality: ClockNotSynchronised | 10}, StNum: 7, SqNum: 300, ConfRev: 2,
		AllData: []Data{
			{Kind: Boolean, Bool: true},
			{Kind: BitString, Bytes: []byte{0x40}, Padding: 6},
			{Kind: Integer, Int: -70000},
			{Kind: Unsigned, Uint: 1 << 63},
			{Kind: Float, Float: 230.5},
			{Kind: Float, Float: math.Pi, Wide: true},
			{Kind: OctetString, Bytes: []byte{1, 2, 3}},
			{Kind: VisibleString, Text: "bay 1"},
			{Kind: UtcTime, Time: Timestamp{Seconds: 1, Fraction: 1<<24 - 1, Quality: ClockFailure}},
			{Kind: Structure, Elements: []Data{{Kind: Boolean}, {Kind: Array, Elements: []Data{{Kind: Integer, Int: 1}, {Kind: Integer, Int: 2}}}}},
			{Kind: Structure},
			{Kind: OctetString},
			{Kind: VisibleString},
			{Kind: BitString},
		},
	}}
}

func marshal(t *testing.T, f Frame) []byte {
	t.Helper()
	b, err := Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAFrameIsReadBack(t *testing.T) {
	simulated, bare := example(), example()
	simulated.Simulated, simulated.PDU.Simulation, simulated.PDU.NdsCom = true, true, true
	bare.PDU.GoID, bare.PDU.AllData = "", nil
	deep := example()
	deep.PDU.AllData = []Data{nested(maxDepth)}
	for what, f := range map[string]Frame{"every kind of data": example(), "simulated": simulated, "no data": bare, "deep": deep} {
		if got, err := Unmarshal(marshal(t, f)); err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s: Unmarshal(Marshal()) = %+v, %v; want %+v", what, got, err, f)
		}
	}
}

// nested has a BOOLEAN under so many structures.
func nested(depth int) Data {
	d := Data{Kind: Boolean}
	for range depth {
		d = Data{Kind: Structure, Elements: []Data{d}}
	}
	return d
}

func TestTheBytesAreThoseOfTheStandard(t *testing.T) {
	f := Frame{APPID: 0x0001, Simulated: true, PDU: PDU{GocbRef: "A", TimeAllowedToLiveMs: 300, DatSet: "B", GoID: "C",
		T: Timestamp{Seconds: 0x01020304, Fraction: 0x050607, Quality: 8}, StNum: 1, SqNum: 128, Simulation: true, ConfRev: 1,
		AllData: []Data{{Kind: Boolean, Bool: true}}}}
	want := []byte{0x00, 0x01, 0x00, 0x38, 0x80, 0x00, 0x00, 0x00, 0x61, 0x2e,
		0x80, 1, 'A', 0x81, 2, 0x01, 0x2c, 0x82, 1, 'B', 0x83, 1, 'C', 0x84, 8, 1, 2, 3, 4, 5, 6, 7, 8,
		0x85, 1, 1, 0x86, 2, 0, 0x80, 0x87, 1, 0xff, 0x88, 1, 1, 0x89, 1, 0, 0x8a, 1, 1, 0xab, 3, 0x83, 1, 0xff}
	want[3] = byte(len(want))
	want[9] = byte(len(want) - 10)
	if got := marshal(t, f); !bytes.Equal(got, want) {
		t.Errorf("Marshal() =\n% x; want\n% x", got, want)
	}
}

func TestPaddingBehindTheFrameIsIgnored(t *testing.T) {
	b := append(marshal(t, example()), make([]byte, 46)...)
	if got, err := Unmarshal(b); err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("Unmarshal() = %+v, %v", got, err)
	}
}

// raw builds a frame of elements that Marshal would not write.
func raw(elements ...[]byte) []byte {
	pdu := ber.Append(nil, 0x61, bytes.Join(elements, nil))
	n := headerSize + len(pdu)
	return append([]byte{0x30, 0x01, byte(n >> 8), byte(n), 0, 0, 0, 0}, pdu...)
}

// fields are those of a minimal goosePdu, in order; a test replaces some.
func fields() [][]byte {
	return [][]byte{
		[]byte("\x80\x01A"), {0x81, 1, 100}, []byte("\x82\x01B"), []byte("\x83\x01C"), {0x84, 8, 0, 0, 0, 1, 0, 0, 0, 0},
		{0x85, 1, 1}, {0x86, 1, 0}, {0x87, 1, 0}, {0x88, 1, 1}, {0x89, 1, 0}, {0x8a, 1, 1}, {0xab, 3, 0x83, 1, 1},
	}
}

func TestWhatDevicesSendIsAccepted(t *testing.T) {
	quality := Data{Kind: BitString, Padding: 3, Bytes: []byte{0x00, 0x07}}
	for _, c := range []struct {
		what  string
		field int
		new   []byte
		want  func(*PDU)
	}{
		{"integers of fixed width", 5, []byte{0x85, 4, 0, 0, 0, 9}, func(p *PDU) { p.StNum = 9 }},
		{"an unsigned without its sign byte", 6, []byte{0x86, 4, 0xff, 0xff, 0xff, 0xff}, func(p *PDU) { p.SqNum = 1<<32 - 1 }},
		{"TRUE as 0x01", 9, []byte{0x89, 1, 1}, func(p *PDU) { p.NdsCom = true }},
		{"a length in long form", 1, []byte{0x81, 0x82, 0, 2, 1, 0}, func(p *PDU) { p.TimeAllowedToLiveMs = 256 }},
		{"no goID", 3, nil, func(p *PDU) { p.GoID = "" }},
		{"an empty goID", 3, []byte{0x83, 0}, func(p *PDU) { p.GoID = "" }},
		{"no simulation", 7, nil, func(*PDU) {}},
		{"no ndsCom", 9, nil, func(*PDU) {}},
		{"set padding bits in a quality", 11, []byte{0xab, 5, 0x84, 3, 3, 0, 0x07}, func(p *PDU) { p.AllData = []Data{quality} }},
		{"a float", 11, []byte{0xab, 7, 0x87, 5, 8, 0x43, 0x66, 0x80, 0}, func(p *PDU) { p.AllData = []Data{{Kind: Float, Float: 230.5}} }},
		{"an extension behind allData", 11, []byte{0xab, 3, 0x83, 1, 1, 0xac, 2, 0x80, 0}, func(*PDU) {}},
	} {
		in := fields()
		in[c.field] = c.new
		want := PDU{GocbRef: "A", TimeAllowedToLiveMs: 100, DatSet: "B", GoID: "C", T: Timestamp{Seconds: 1}, StNum: 1, ConfRev: 1,
			AllData: []Data{{Kind: Boolean, Bool: true}}}
		c.want(&want)
		if got, err := Unmarshal(raw(in...)); err != nil || !reflect.DeepEqual(got.PDU, want) {
			t.Errorf("%s: Unmarshal() = %+v, %v; want %+v", c.what, got.PDU, err, want)
		}
	}
}

func TestAWrongFieldIsNamedWithItsOffset(t *testing.T) {
	deep, err := nested(maxDepth).append(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	deep = ber.Append(nil, 0xa2, deep)
	many := bytes.Repeat([]byte{0x85, 0}, maxEntries+1)
	for _, c := range []struct {
		field int
		new   []byte
		want  string
	}{
		{0, nil, "gocbRef at offset 10: tag 0x81, want 0x80"},
		{0, []byte("\x80\x01\x00"), "gocbRef at offset 12: byte 0x00"},
		{0, ber.Append(nil, 0x80, bytes.Repeat([]byte("x"), 130)), "gocbRef at offset 14: a string of 130 bytes, at most 129"},
		{1, []byte{0x81, 0}, "timeAllowedtoLive at offset 15: an empty integer"},
		{1, []byte{0x81, 5, 1, 0, 0, 0, 0}, "timeAllowedtoLive at offset 15: 4294967296 does not fit 32 bits"},
		{2, nil, "datSet at offset 16: tag 0x83, want 0x82"},
		{3, []byte{0x83, 1, 0x7f}, "goID at offset 21: byte 0x7f"},
		{4, []byte{0x84, 7, 0, 0, 0, 1, 0, 0, 0}, "t at offset 24: a UtcTime must have 8 bytes"},
		{5, nil, "stNum at offset 32: tag 0x86, want 0x85"},
		{6, []byte{0x86, 0x80}, "sqNum at offset 35: length at offset 35: 0 length bytes"},
		{7, []byte{0x87, 2, 0, 0}, "simulation at offset 40: a boolean of 2 bytes"},
		{8, nil, "confRev at offset 41: tag 0x89, want 0x88"},
		{9, []byte{0x89, 0x50, 0}, "ndsCom at offset 44: value of tag 0x89 at offset 44: truncated"},
		{10, []byte{0x8a, 2, 2, 1}, "numDatSetEntries at offset 49: 513, at most 512"},
		{10, []byte{0x8a, 1, 2}, "allData at offset 52: 1 entries, numDatSetEntries says 2"},
		{11, nil, "allData at offset 50: tag and length at offset 50: truncated"},
		{11, []byte{0xab, 3, 0x83, 2, 1}, "allData[0]: value of tag 0x83 at offset 52: truncated"},
		{11, []byte{0xab, 2, 0x9e, 0}, "allData[0] at offset 54: tag 0x9e is not known"},
		{11, []byte{0xab, 4, 0xa2, 2, 0x84, 0}, "allData[0][0] at offset 56: a bit string"},
		{11, []byte{0xab, 4, 0x84, 2, 8, 0}, "allData[0] at offset 54: a bit string"},
		{11, []byte{0xab, 3, 0x84, 1, 1}, "allData[0] at offset 54: a bit string"},
		{11, []byte{0xab, 3, 0x91, 1, 1}, "allData[0] at offset 54: a UtcTime must have 8 bytes"},
		{11, ber.Append(nil, 0xab, deep), "allData[0][0][0][0][0][0][0][0][0] at offset 70: nested deeper than 8"},
		{11, ber.Append(nil, 0xab, bytes.ReplaceAll(many, []byte{0x85, 0}, []byte{0x8a, 0})), "allData[512] at offset 1080: more than 512 entries"},
	} {
		in := fields()
		in[c.field] = c.new
		_, err := Unmarshal(raw(in...))
		if c.field == 11 && len(c.new) > 1000 { // the two outer lengths are longer too
			c.want = strings.Replace(c.want, "1080", "1082", 1)
		}
		if err == nil || !strings.Contains(err.Error(), "decode GOOSE: "+c.want) {
			t.Errorf("Unmarshal() = %v; want %s", err, c.want)
		}
	}
}

func TestAWrongHeaderIsRefused(t *testing.T) {
	good := marshal(t, example())
	with := func(length int) []byte {
		b := bytes.Clone(good)
		b[2], b[3] = byte(length>>8), byte(length)
		return b
	}
	long := append(bytes.Clone(good), make([]byte, 2000)...)
	long[2], long[3] = 1501>>8, 1501&0xff
	for what, b := range map[string][]byte{
		"nothing": nil, "half a header": good[:7], "length 0": with(0), "length 7": with(7),
		"length beyond the frame": with(len(good) + 1), "length beyond any frame": long, "another PDU": append([]byte{0, 0, 0, 10, 0, 0, 0, 0}, 0x60, 0),
	} {
		if _, err := Unmarshal(b); err == nil || !(strings.Contains(err.Error(), "offset") || errors.Is(err, ber.ErrTruncated)) {
			t.Errorf("%s: %v; want an error with an offset", what, err)
		}
	}
}

func TestEveryTruncatedFrameIsRefused(t *testing.T) {
	good := marshal(t, example())
	for n := range good {
		b := bytes.Clone(good[:n])
		if n > 4 {
			b[2], b[3] = byte(n>>8), byte(n)
		}
		if _, err := Unmarshal(b); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, len(good))
		}
	}
}

func TestWhatCannotBeReadBackIsNotEncoded(t *testing.T) {
	for _, c := range []struct {
		what string
		set  func(*PDU)
		want string
	}{
		{"long reference", func(p *PDU) { p.GocbRef = strings.Repeat("x", 130) }, "gocbRef: a string of 130 bytes"},
		{"control character", func(p *PDU) { p.DatSet = "a\nb" }, "datSet: byte 0x0a"},
		{"not ASCII", func(p *PDU) { p.GoID = "é" }, "goID: byte 0xc3"},
		{"too many members", func(p *PDU) { p.AllData = make([]Data, 513) }, "at most 512"},
		{"no kind", func(p *PDU) { p.AllData = make([]Data, 1) }, "allData[0]: kind 0x00"},
		{"control character in a member", func(p *PDU) { p.AllData = []Data{{Kind: VisibleString, Text: "\x7f"}} }, "allData[0]: byte 0x7f"},
		{"too many unused bits", func(p *PDU) { p.AllData = []Data{{Kind: BitString, Padding: 8, Bytes: []byte{0}}} }, "8 unused bits"},
		{"unused bits of nothing", func(p *PDU) { p.AllData = []Data{{Kind: BitString, Padding: 1}} }, "1 unused bits"},
		{"too deep", func(p *PDU) { p.AllData = []Data{nested(maxDepth + 1)} }, "nested deeper"},
		{"too many elements", func(p *PDU) {
			p.AllData = []Data{{Kind: Array, Elements: slices.Repeat([]Data{{Kind: VisibleString}}, 513)}}
		}, "at most 512"},
		{"more than a frame", func(p *PDU) { p.AllData = []Data{{Kind: OctetString, Bytes: make([]byte, 1450)}} }, "at most 1500 fit a frame"},
	} {
		f := example()
		c.set(&f.PDU)
		if _, err := Marshal(f); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Marshal() = %v; want %q", c.what, err, c.want)
		}
	}
}

func TestATimeIsKeptToTheResolutionOfItsFraction(t *testing.T) {
	for _, ns := range []int64{0, 1, 59, 60, 500_000_000, 999_999_999} {
		want := time.Unix(1700000000, ns)
		if d := want.Sub(At(want, 0).Time()); d < 0 || d > 60*time.Nanosecond {
			t.Errorf("At(%d ns).Time() is off by %v", ns, d)
		}
	}
	for _, fraction := range []uint32{0, 1, 1 << 23, 1<<24 - 1} {
		ts := Timestamp{Seconds: 5, Fraction: fraction}
		if got := At(ts.Time(), 0); got != ts {
			t.Errorf("At(%+v.Time()) = %+v", ts, got)
		}
	}
}

// FuzzUnmarshal: any bytes are decoded or refused without a panic, and a frame
// that was accepted is encoded again as a frame of the same value.
func FuzzUnmarshal(f *testing.F) {
	for _, frame := range []Frame{example(), {}, {PDU: PDU{AllData: []Data{nested(maxDepth)}}}} {
		b, err := Marshal(frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add(raw(fields()...))
	f.Add(raw(append(fields()[:11], ber.Append(nil, 0xab, bytes.Repeat([]byte{0xa2, 0}, 300)))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := Unmarshal(b)
		if err != nil {
			return
		}
		if n := count(first.PDU.AllData); n > len(b)/2 {
			t.Fatalf("%d values out of %d bytes", n, len(b))
		}
		encoded, err := Marshal(first)
		if errors.Is(err, errTooLong) { // an unsigned grows by its sign byte
			return
		}
		if err != nil {
			t.Fatalf("Marshal(%+v) = %v", first, err)
		}
		second, err := Unmarshal(encoded)
		if err != nil || same(first) != same(second) {
			t.Fatalf("%+v comes back as %+v, %v", first, second, err)
		}
	})
}

// same is equal for equal frames; NaN equals NaN here.
func same(f Frame) string { return fmt.Sprintf("%#v", f) }

func count(data []Data) int {
	n := len(data)
	for _, d := range data {
		n += count(d.Elements)
	}
	return n
}
