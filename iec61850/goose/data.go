package goose

import (
	"errors"
	"fmt"

	"bumpless/iec61850/ber"
)

// Kind of a Data value; its number is the tag of MMS Data (ISO 9506-2).
type Kind byte

// Kinds of Data.
const (
	Array         Kind = 0xa1
	Structure     Kind = 0xa2
	Boolean       Kind = 0x83
	BitString     Kind = 0x84
	Integer       Kind = 0x85
	Unsigned      Kind = 0x86
	Float         Kind = 0x87
	OctetString   Kind = 0x89
	VisibleString Kind = 0x8a
	UtcTime       Kind = 0x91
)

// Data is one value of a data set. Which field counts depends on Kind.
type Data struct {
	Kind     Kind
	Bool     bool
	Int      int64
	Uint     uint64
	Float    float64
	Wide     bool   // a Float of double precision
	Bytes    []byte // OctetString, BitString
	Padding  byte   // unused bits at the end of a BitString, 0 to 7
	Text     string
	Time     Timestamp
	Elements []Data // of an Array or a Structure
}

func (d Data) append(dst []byte, depth int) ([]byte, error) {
	tag := byte(d.Kind)
	switch d.Kind {
	case Array, Structure:
		if depth == maxDepth {
			return nil, fmt.Errorf("nested deeper than %d", maxDepth)
		}
		if len(d.Elements) > maxEntries {
			return nil, fmt.Errorf("%d elements, at most %d are allowed", len(d.Elements), maxEntries)
		}
		var inner []byte
		for i, e := range d.Elements {
			var err error
			if inner, err = e.append(inner, depth+1); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return ber.Append(dst, tag, inner), nil
	case Boolean:
		return ber.AppendBool(dst, tag, d.Bool), nil
	case BitString:
		if d.Padding > 7 || (len(d.Bytes) == 0 && d.Padding != 0) {
			return nil, fmt.Errorf("a bit string of %d bytes cannot have %d unused bits", len(d.Bytes), d.Padding)
		}
		return ber.Append(dst, tag, append([]byte{d.Padding}, d.Bytes...)), nil
	case Integer:
		return ber.AppendSigned(dst, tag, d.Int), nil
	case Unsigned:
		return ber.AppendUnsigned(dst, tag, d.Uint), nil
	case Float:
		if d.Wide {
			return ber.AppendFloat64(dst, tag, d.Float), nil
		}
		return ber.AppendFloat32(dst, tag, float32(d.Float)), nil
	case OctetString:
		return ber.Append(dst, tag, d.Bytes), nil
	case VisibleString:
		if err := ber.CheckText(d.Text, maxPDU); err != nil {
			return nil, err
		}
		return ber.Append(dst, tag, []byte(d.Text)), nil
	case UtcTime:
		t := d.Time.encode()
		return ber.Append(dst, tag, t[:]), nil
	}
	return nil, fmt.Errorf("kind 0x%02x is not known", tag)
}

func readData(r *ber.Reader, what string, depth int) ([]Data, error) {
	var all []Data
	for r.More() {
		field := fmt.Sprintf("%s[%d]", what, len(all))
		e, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		if len(all) == maxEntries {
			return nil, &ber.Error{Offset: e.Offset, What: field, Err: fmt.Errorf("more than %d entries", maxEntries)}
		}
		d, err := decodeData(e, field, depth)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

func decodeData(e ber.Element, what string, depth int) (d Data, err error) {
	d.Kind = Kind(e.Tag)
	fail := func(why string) (Data, error) {
		return Data{}, &ber.Error{Offset: e.Offset, What: what, Err: errors.New(why)}
	}
	switch d.Kind {
	case Array, Structure:
		if depth == maxDepth {
			return fail(fmt.Sprintf("nested deeper than %d", maxDepth))
		}
		d.Elements, err = readData(e.Sub(), what, depth+1)
	case Boolean:
		d.Bool, err = e.Bool(what)
	case BitString:
		if len(e.Value) == 0 || e.Value[0] > 7 || (len(e.Value) == 1 && e.Value[0] != 0) {
			return fail("a bit string without a valid count of unused bits")
		}
		d.Padding, d.Bytes = e.Value[0], append([]byte(nil), e.Value[1:]...)
	case Integer:
		d.Int, err = e.Signed(what)
	case Unsigned:
		d.Uint, err = e.Unsigned(what, 64)
	case Float:
		d.Wide = len(e.Value) == 9
		d.Float, err = e.Float(what)
	case OctetString:
		d.Bytes = append([]byte(nil), e.Value...)
	case VisibleString:
		d.Text, err = e.Text(what, maxPDU)
	case UtcTime:
		if len(e.Value) != 8 {
			return fail("a UtcTime must have 8 bytes")
		}
		d.Time = decodeTimestamp([8]byte(e.Value))
	default:
		return fail(fmt.Sprintf("tag 0x%02x is not known", e.Tag))
	}
	if err != nil {
		return Data{}, err
	}
	return d, nil
}
