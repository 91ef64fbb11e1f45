// Package ber is the bounded subset of ASN.1's Basic Encoding Rules (ITU-T
// X.690) that GOOSE and Sampled Values use: single-byte tags and definite
// lengths.
//
// encoding/asn1 insists on DER and so refuses what devices in the field send:
// lengths and integers that are not minimal, TRUE as 0x01, set bits in a bit
// string's padding, floating point. Reader accepts these; an error names the
// element's offset. Nothing is allocated for what a length only claims.
package ber

import (
	"errors"
	"fmt"
	"math"
)

// ErrTruncated: an element reaches beyond the bytes at hand.
var ErrTruncated = errors.New("truncated")

// Error says where an encoding is wrong.
type Error struct {
	Offset int    // in bytes from the start of what was given to NewReader
	What   string // the element
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("%s at offset %d: %v", e.What, e.Offset, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Element is one tag, length and value.
type Element struct {
	Tag    byte
	Offset int // of the value
	Value  []byte
}

// Reader walks the elements of one constructed value.
type Reader struct {
	data []byte
	base int
	pos  int
}

// NewReader reads the elements in data; base is added to offsets in errors.
func NewReader(data []byte, base int) *Reader { return &Reader{data: data, base: base} }

// Sub reads the elements inside e.
func (e Element) Sub() *Reader { return NewReader(e.Value, e.Offset) }

// More tells whether bytes are left.
func (r *Reader) More() bool { return r.pos < len(r.data) }

func (r *Reader) fail(what string, err error) error {
	return &Error{Offset: r.base + r.pos, What: what, Err: err}
}

// Next returns the next element. Lengths of up to four bytes are accepted, in
// short or long form, minimal or not; the indefinite form (8.1.3.6) is not
// used by IEC 61850 and refused.
func (r *Reader) Next() (Element, error) {
	rest := r.data[r.pos:]
	if len(rest) < 2 {
		return Element{}, r.fail("tag and length", ErrTruncated)
	}
	tag, length, head := rest[0], int(rest[1]), 2
	if tag&0x1f == 0x1f {
		return Element{}, r.fail("tag", errors.New("tags of several bytes are not used here"))
	}
	if length&0x80 != 0 {
		n := length & 0x7f
		if n == 0 || n > 4 {
			return Element{}, r.fail("length", fmt.Errorf("%d length bytes, want 1 to 4", n))
		}
		if len(rest) < 2+n {
			return Element{}, r.fail("length", ErrTruncated)
		}
		var wide uint64
		for _, b := range rest[2 : 2+n] {
			wide = wide<<8 | uint64(b)
		}
		if wide > uint64(len(rest)) {
			return Element{}, r.fail(fmt.Sprintf("value of tag 0x%02x", tag), ErrTruncated)
		}
		length, head = int(wide), 2+n
	}
	if length > len(rest)-head {
		return Element{}, r.fail(fmt.Sprintf("value of tag 0x%02x", tag), ErrTruncated)
	}
	e := Element{Tag: tag, Offset: r.base + r.pos + head, Value: rest[head : head+length : head+length]}
	r.pos += head + length
	return e, nil
}

// Expect returns the next element, which must bear the tag.
func (r *Reader) Expect(tag byte, what string) (Element, error) {
	at := r.base + r.pos
	e, err := r.Next()
	if err != nil {
		return e, &Error{Offset: at, What: what, Err: err}
	}
	if e.Tag != tag {
		return e, &Error{Offset: at, What: what, Err: fmt.Errorf("tag 0x%02x, want 0x%02x", e.Tag, tag)}
	}
	return e, nil
}

// Has tells whether the next element bears the tag.
func (r *Reader) Has(tag byte) bool { return r.More() && r.data[r.pos] == tag }

// Optional returns the next element if it bears the tag.
func (r *Reader) Optional(tag byte, what string) (Element, bool, error) {
	if !r.Has(tag) {
		return Element{}, false, nil
	}
	e, err := r.Expect(tag, what)
	return e, err == nil, err
}

// End fails when bytes are left.
func (r *Reader) End(what string) error {
	if !r.More() {
		return nil
	}
	return r.fail(what, fmt.Errorf("%d bytes are left behind the last field", len(r.data)-r.pos))
}

func (e Element) fail(what, format string, args ...any) error {
	return &Error{Offset: e.Offset, What: what, Err: fmt.Errorf(format, args...)}
}

// Unsigned decodes a non-negative INTEGER of at most bits bits; leading zero
// bytes are accepted.
func (e Element) Unsigned(what string, bits int) (uint64, error) {
	v := e.Value
	if len(v) == 0 {
		return 0, e.fail(what, "an empty integer")
	}
	for len(v) > 1 && v[0] == 0 {
		v = v[1:]
	}
	if len(v) > 8 {
		return 0, e.fail(what, "an integer of %d bytes", len(v))
	}
	var n uint64
	for _, b := range v {
		n = n<<8 | uint64(b)
	}
	if bits < 64 && n>>bits != 0 {
		return 0, e.fail(what, "%d does not fit %d bits", n, bits)
	}
	return n, nil
}

// Signed decodes an INTEGER of at most 64 bits; leading bytes that only repeat
// the sign are accepted.
func (e Element) Signed(what string) (int64, error) {
	v := e.Value
	for len(v) > 1 && (v[0] == 0 && v[1]&0x80 == 0 || v[0] == 0xff && v[1]&0x80 != 0) {
		v = v[1:]
	}
	if len(v) == 0 || len(v) > 8 {
		return 0, e.fail(what, "an integer of %d bytes, want 1 to 8", len(v))
	}
	n := int64(int8(v[0]))
	for _, b := range v[1:] {
		n = n<<8 | int64(b)
	}
	return n, nil
}

// Bool decodes a BOOLEAN: any non-zero value is true.
func (e Element) Bool(what string) (bool, error) {
	if len(e.Value) != 1 {
		return false, e.fail(what, "a boolean of %d bytes, want 1", len(e.Value))
	}
	return e.Value[0] != 0, nil
}

// Text decodes a VisibleString of at most limit bytes.
func (e Element) Text(what string, limit int) (string, error) {
	if err := CheckText(string(e.Value), limit); err != nil {
		return "", e.fail(what, "%w", err)
	}
	return string(e.Value), nil
}

// CheckText tells why s cannot be a VisibleString of at most limit bytes.
func CheckText(s string, limit int) error {
	if len(s) > limit {
		return fmt.Errorf("a string of %d bytes, at most %d are allowed", len(s), limit)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return fmt.Errorf("byte 0x%02x at index %d is not visible ASCII", s[i], i)
		}
	}
	return nil
}

// Float decodes MMS FloatingPoint: one byte with the exponent's width (8 or
// 11), then IEEE 754 (ISO 9506-2, 7.3.2.2).
func (e Element) Float(what string) (float64, error) {
	switch v := e.Value; {
	case len(v) == 5 && v[0] == 8:
		return float64(math.Float32frombits(uint32(v[1])<<24 | uint32(v[2])<<16 | uint32(v[3])<<8 | uint32(v[4]))), nil
	case len(v) == 9 && v[0] == 11:
		var n uint64
		for _, b := range v[1:] {
			n = n<<8 | uint64(b)
		}
		return math.Float64frombits(n), nil
	}
	return 0, e.fail(what, "a float of %d bytes with exponent width %x", len(e.Value), e.Value[:min(1, len(e.Value))])
}
