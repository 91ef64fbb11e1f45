package ber

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

func element(t *testing.T, encoded []byte) Element {
	t.Helper()
	r := NewReader(encoded, 0)
	e, err := r.Next()
	if err != nil {
		t.Fatalf("Next(% x) = %v", encoded, err)
	}
	if r.More() {
		t.Fatalf("Next(% x) leaves bytes", encoded)
	}
	return e
}

func TestUnsignedIsEncodedInTheFewestBytesAndReadBack(t *testing.T) {
	for _, c := range []struct {
		n    uint64
		want []byte
	}{
		{0, []byte{0x85, 1, 0}},
		{127, []byte{0x85, 1, 0x7f}},
		{128, []byte{0x85, 2, 0, 0x80}},
		{256, []byte{0x85, 2, 1, 0}},
		{1<<32 - 1, []byte{0x85, 5, 0, 0xff, 0xff, 0xff, 0xff}},
		{1 << 63, []byte{0x85, 9, 0, 0x80, 0, 0, 0, 0, 0, 0, 0}},
		{math.MaxUint64, []byte{0x85, 9, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	} {
		b := AppendUnsigned(nil, 0x85, c.n)
		if !bytes.Equal(b, c.want) {
			t.Errorf("AppendUnsigned(%d) = % x; want % x", c.n, b, c.want)
		}
		if n, err := element(t, b).Unsigned("n", 64); n != c.n || err != nil {
			t.Errorf("Unsigned(% x) = %d, %v; want %d", b, n, err, c.n)
		}
	}
}

func TestSignedIsEncodedInTheFewestBytesAndReadBack(t *testing.T) {
	for _, c := range []struct {
		n    int64
		want []byte
	}{
		{0, []byte{0x85, 1, 0}},
		{127, []byte{0x85, 1, 0x7f}},
		{128, []byte{0x85, 2, 0, 0x80}},
		{-1, []byte{0x85, 1, 0xff}},
		{-128, []byte{0x85, 1, 0x80}},
		{-129, []byte{0x85, 2, 0xff, 0x7f}},
		{math.MinInt64, []byte{0x85, 8, 0x80, 0, 0, 0, 0, 0, 0, 0}},
		{math.MaxInt64, []byte{0x85, 8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	} {
		b := AppendSigned(nil, 0x85, c.n)
		if !bytes.Equal(b, c.want) {
			t.Errorf("AppendSigned(%d) = % x; want % x", c.n, b, c.want)
		}
		if n, err := element(t, b).Signed("n"); n != c.n || err != nil {
			t.Errorf("Signed(% x) = %d, %v; want %d", b, n, err, c.n)
		}
	}
}

func TestLengthsUseTheFewestBytesAndAreReadBack(t *testing.T) {
	for _, c := range []struct {
		n    int
		head []byte
	}{
		{0, []byte{0x80, 0}},
		{0x7f, []byte{0x80, 0x7f}},
		{0x80, []byte{0x80, 0x81, 0x80}},
		{0xff, []byte{0x80, 0x81, 0xff}},
		{0x100, []byte{0x80, 0x82, 1, 0}},
		{0xffff, []byte{0x80, 0x82, 0xff, 0xff}},
		{0x10000, []byte{0x80, 0x83, 1, 0, 0}},
		{0x1000000, []byte{0x80, 0x84, 1, 0, 0, 0}},
	} {
		b := Append(nil, 0x80, make([]byte, c.n))
		if !bytes.HasPrefix(b, c.head) || len(b) != len(c.head)+c.n {
			t.Errorf("Append(%d bytes) begins % x; want % x", c.n, b[:min(6, len(b))], c.head)
		}
		if e := element(t, b); len(e.Value) != c.n || e.Offset != len(c.head) {
			t.Errorf("Next() of %d bytes = %d at %d; want them at %d", c.n, len(e.Value), e.Offset, len(c.head))
		}
	}
}

func TestFloatsAreReadBack(t *testing.T) {
	for _, f := range []float64{0, -1.5, 230.25, math.Inf(1)} {
		if g, err := element(t, AppendFloat32(nil, 0x87, float32(f))).Float("f"); g != f || err != nil {
			t.Errorf("single %v = %v, %v", f, g, err)
		}
		if g, err := element(t, AppendFloat64(nil, 0x87, f)).Float("f"); g != f || err != nil {
			t.Errorf("double %v = %v, %v", f, g, err)
		}
	}
	if f, err := element(t, AppendFloat32(nil, 0x87, float32(math.NaN()))).Float("f"); !math.IsNaN(f) || err != nil {
		t.Errorf("NaN = %v, %v", f, err)
	}
}

func TestWhatDevicesSendIsAccepted(t *testing.T) {
	unsigned := func(e Element) (any, error) { return e.Unsigned("x", 32) }
	signed := func(e Element) (any, error) { return e.Signed("x") }
	boolean := func(e Element) (any, error) { return e.Bool("x") }
	for _, c := range []struct {
		what string
		in   []byte
		read func(Element) (any, error)
		want any
	}{
		{"TRUE as 0x01", []byte{0x83, 1, 1}, boolean, true},
		{"TRUE as 0xff", []byte{0x83, 1, 0xff}, boolean, true},
		{"FALSE", []byte{0x83, 1, 0}, boolean, false},
		{"length in long form though short", []byte{0x83, 0x81, 1, 1}, boolean, true},
		{"length of four bytes", []byte{0x83, 0x84, 0, 0, 0, 1, 1}, boolean, true},
		{"integer of fixed width", []byte{0x85, 4, 0, 0, 0, 7}, unsigned, uint64(7)},
		{"integer of fixed width with a sign byte", []byte{0x85, 5, 0, 0, 0, 0, 7}, unsigned, uint64(7)},
		{"more leading zeros than any type has", []byte{0x85, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7}, unsigned, uint64(7)},
		{"unsigned without its sign byte", []byte{0x86, 4, 0xff, 0xff, 0xff, 0xfe}, unsigned, uint64(1<<32 - 2)},
		{"negative, not minimal", []byte{0x85, 4, 0xff, 0xff, 0xff, 0xfe}, signed, int64(-2)},
		{"negative, with more than 8 bytes", []byte{0x85, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe}, signed, int64(-2)},
		{"positive, with more than 8 bytes", []byte{0x85, 9, 0, 0, 0, 0, 0, 0, 0, 0, 5}, signed, int64(5)},
	} {
		if got, err := c.read(element(t, c.in)); got != c.want || err != nil {
			t.Errorf("%s: % x = %v, %v; want %v", c.what, c.in, got, err, c.want)
		}
	}
}

func TestAWrongElementIsRefusedWithItsNameAndOffset(t *testing.T) {
	expect := func(b []byte) error { _, err := NewReader(b, 100).Expect(0x80, "x"); return err }
	optional := func(b []byte) error { _, _, err := NewReader(b, 100).Optional(0x80, "x"); return err }
	value := func(read func(Element) error) func([]byte) error {
		return func(b []byte) error {
			e, err := NewReader(b, 100).Next()
			if err != nil {
				return err
			}
			return read(e)
		}
	}
	unsigned := value(func(e Element) error { _, err := e.Unsigned("x", 32); return err })
	unsigned64 := value(func(e Element) error { _, err := e.Unsigned("x", 64); return err })
	signed := value(func(e Element) error { _, err := e.Signed("x"); return err })
	boolean := value(func(e Element) error { _, err := e.Bool("x"); return err })
	text := value(func(e Element) error { _, err := e.Text("x", 3); return err })
	float := value(func(e Element) error { _, err := e.Float("x"); return err })
	for _, c := range []struct {
		what   string
		read   func([]byte) error
		in     []byte
		offset int
		why    string
	}{
		{"nothing", expect, nil, 100, "truncated"},
		{"tag without length", expect, []byte{0x80}, 100, "truncated"},
		{"another tag", expect, []byte{0x81, 0}, 100, "tag 0x81, want 0x80"},
		{"length bytes are missing", expect, []byte{0x80, 0x82, 1}, 100, "truncated"},
		{"value is cut off", expect, []byte{0x80, 2, 1}, 100, "truncated"},
		{"value is cut off, optional", optional, []byte{0x80, 2, 1}, 100, "truncated"},
		{"a length that claims 4 GiB", expect, []byte{0x80, 0x84, 0xff, 0xff, 0xff, 0xff}, 100, "truncated"},
		{"five length bytes", expect, []byte{0x80, 0x85, 0, 0, 0, 0, 0}, 100, "want 1 to 4"},
		{"indefinite length", expect, []byte{0x80, 0x80, 0, 0}, 100, "0 length bytes"},
		{"tag of several bytes", expect, []byte{0x9f, 0x20, 0}, 100, "several bytes"},
		{"empty integer", unsigned, []byte{0x85, 0}, 102, "empty"},
		{"33 bits for 32", unsigned, []byte{0x85, 5, 1, 0, 0, 0, 0}, 102, "does not fit 32 bits"},
		{"65 bits", unsigned64, []byte{0x85, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 102, "9 bytes"},
		{"empty signed integer", signed, []byte{0x85, 0}, 102, "want 1 to 8"},
		{"signed of 65 bits", signed, []byte{0x85, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 102, "want 1 to 8"},
		{"empty boolean", boolean, []byte{0x83, 0}, 102, "want 1"},
		{"wide boolean", boolean, []byte{0x83, 2, 0, 1}, 102, "want 1"},
		{"long text", text, []byte("\x8a\x04abcd"), 102, "at most 3"},
		{"control character", text, []byte("\x8a\x02a\n"), 102, "0x0a at index 1"},
		{"not ASCII", text, []byte("\x8a\x02\xc3\xa9"), 102, "0xc3 at index 0"},
		{"empty float", float, []byte{0x87, 0}, 102, "0 bytes"},
		{"float with another exponent", float, []byte{0x87, 5, 11, 0, 0, 0, 0}, 102, "exponent width 0b"},
		{"float of three bytes", float, []byte{0x87, 3, 8, 0, 0}, 102, "3 bytes"},
	} {
		err := c.read(c.in)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v; want an *Error", c.what, err)
			continue
		}
		if e.What != "x" || e.Offset != c.offset || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %q; want x, offset %d and %q", c.what, err, c.offset, c.why)
		}
	}
}

func TestOffsetsCountFromTheOutermostElement(t *testing.T) {
	inner := Append(AppendBool(nil, 0x83, true), 0x83, nil)
	r := element(t, Append(nil, 0xa2, Append(nil, 0xa1, inner))).Sub()
	e, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	r = e.Sub()
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if e, err = r.Next(); err != nil || e.Offset != 9 {
		t.Errorf("the second BOOLEAN's value is at %d, %v; want 9", e.Offset, err)
	}
}

func TestWhatIsLeftBehindTheLastFieldIsNamed(t *testing.T) {
	r := NewReader([]byte{0x83, 1, 1, 0, 0}, 10)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if err := r.End("x"); err == nil || err.Error() != "x at offset 13: 2 bytes are left behind the last field" {
		t.Errorf("End() = %v", err)
	}
	if err := NewReader(nil, 0).End("x"); err != nil {
		t.Errorf("End() of nothing = %v", err)
	}
}

// FuzzReader: any bytes are walked without a panic; what was read as a value
// and is encoded again is read as the same value.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0x83, 1, 1, 0x85, 2, 0, 7, 0x87, 5, 8, 0, 0, 0, 0, 0x8a, 1, 'x'})
	f.Add([]byte{0x80, 0x84, 0xff, 0xff, 0xff, 0xff, 0})
	f.Add([]byte{0xa2, 0x81, 4, 0x85, 2, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		for r := NewReader(b, 0); r.More(); {
			e, err := r.Next()
			if err != nil {
				return
			}
			if e.Offset < 2 || e.Offset+len(e.Value) > len(b) || cap(e.Value) != len(e.Value) {
				t.Fatalf("element at %d with %d bytes of %d", e.Offset, len(e.Value), len(b))
			}
			checkReadBack(t, e)
		}
	})
}

func checkReadBack(t *testing.T, e Element) {
	if n, err := e.Unsigned("x", 64); err == nil {
		if m, err := element(t, AppendUnsigned(nil, 0x85, n)).Unsigned("x", 64); m != n || err != nil {
			t.Errorf("unsigned %d comes back as %d, %v", n, m, err)
		}
	}
	if n, err := e.Signed("x"); err == nil {
		if m, err := element(t, AppendSigned(nil, 0x85, n)).Signed("x"); m != n || err != nil {
			t.Errorf("signed %d comes back as %d, %v", n, m, err)
		}
	}
	if v, err := e.Float("x"); err == nil && !math.IsNaN(v) {
		if w, err := element(t, AppendFloat64(nil, 0x87, v)).Float("x"); w != v || err != nil {
			t.Errorf("float %v comes back as %v, %v", v, w, err)
		}
	}
	if s, err := e.Text("x", 200); err == nil {
		if u, err := element(t, Append(nil, 0x8a, []byte(s))).Text("x", 200); u != s || err != nil {
			t.Errorf("text %q comes back as %q, %v", s, u, err)
		}
	}
}
