package goose

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bumpless/iec61850/ber"
)

// Bounds of a frame.
const (
	maxPDU     = 1500 // bytes, header included: GOOSE is never fragmented
	maxText    = 129  // bytes of an object reference (IEC 61850-7-2)
	maxEntries = 512  // members of a data set
	maxDepth   = 8    // of nested structures and arrays
	headerSize = 8
)

var errTooLong = errors.New("too long")

// simulated is the S bit of Reserved1 (IEC 61850-8-1, annex C).
const simulated = 0x8000

// Frame is everything after the EtherType.
type Frame struct {
	APPID     uint16
	Simulated bool // the S bit of the header
	PDU       PDU
}

// PDU is goosePdu (IEC 61850-8-1, annex A).
type PDU struct {
	GocbRef             string
	TimeAllowedToLiveMs uint32
	DatSet              string
	GoID                string // "" is left out
	T                   Timestamp
	StNum               uint32
	SqNum               uint32
	Simulation          bool
	ConfRev             uint32
	NdsCom              bool
	AllData             []Data
}

// Tags of goosePdu, context-specific.
const (
	tagPDU     = 0x61
	tagGocbRef = 0x80 + iota - 1
	tagTimeAllowedToLive
	tagDatSet
	tagGoID
	tagT
	tagStNum
	tagSqNum
	tagSimulation
	tagConfRev
	tagNdsCom
	tagNumDatSetEntries
	tagAllData = 0xab
)

// Marshal encodes the frame: APPID, length, reserved fields and goosePdu.
func Marshal(f Frame) ([]byte, error) {
	body, err := marshalPDU(f.PDU)
	if err != nil {
		return nil, fmt.Errorf("encode GOOSE %q: %w", f.PDU.GocbRef, err)
	}
	body = ber.Append(nil, tagPDU, body)
	if headerSize+len(body) > maxPDU {
		return nil, fmt.Errorf("encode GOOSE %q: %w: %d bytes, at most %d fit a frame", f.PDU.GocbRef, errTooLong, headerSize+len(body), maxPDU)
	}
	out := make([]byte, headerSize, headerSize+len(body))
	binary.BigEndian.PutUint16(out[0:], f.APPID)
	binary.BigEndian.PutUint16(out[2:], uint16(headerSize+len(body)))
	if f.Simulated {
		binary.BigEndian.PutUint16(out[4:], simulated)
	}
	return append(out, body...), nil
}

func marshalPDU(p PDU) ([]byte, error) {
	for _, f := range []struct{ what, text string }{{"gocbRef", p.GocbRef}, {"datSet", p.DatSet}, {"goID", p.GoID}} {
		if err := ber.CheckText(f.text, maxText); err != nil {
			return nil, fmt.Errorf("%s: %w", f.what, err)
		}
	}
	if len(p.AllData) > maxEntries {
		return nil, fmt.Errorf("%d data set entries, at most %d are allowed", len(p.AllData), maxEntries)
	}
	var data []byte
	for i, d := range p.AllData {
		var err error
		if data, err = d.append(data, 0); err != nil {
			return nil, fmt.Errorf("allData[%d]: %w", i, err)
		}
	}
	var b []byte
	b = ber.Append(b, tagGocbRef, []byte(p.GocbRef))
	b = ber.AppendUnsigned(b, tagTimeAllowedToLive, uint64(p.TimeAllowedToLiveMs))
	b = ber.Append(b, tagDatSet, []byte(p.DatSet))
	if p.GoID != "" {
		b = ber.Append(b, tagGoID, []byte(p.GoID))
	}
	t := p.T.encode()
	b = ber.Append(b, tagT, t[:])
	b = ber.AppendUnsigned(b, tagStNum, uint64(p.StNum))
	b = ber.AppendUnsigned(b, tagSqNum, uint64(p.SqNum))
	b = ber.AppendBool(b, tagSimulation, p.Simulation)
	b = ber.AppendUnsigned(b, tagConfRev, uint64(p.ConfRev))
	b = ber.AppendBool(b, tagNdsCom, p.NdsCom)
	b = ber.AppendUnsigned(b, tagNumDatSetEntries, uint64(len(p.AllData)))
	return ber.Append(b, tagAllData, data), nil
}

// Unmarshal decodes what follows the EtherType. Bytes behind the length field's
// end (Ethernet padding, a PRP trailer) are ignored.
func Unmarshal(b []byte) (Frame, error) {
	if len(b) < headerSize {
		return Frame{}, fmt.Errorf("decode GOOSE: %d bytes, the header has %d: %w", len(b), headerSize, ber.ErrTruncated)
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < headerSize || length > len(b) || length > maxPDU {
		return Frame{}, fmt.Errorf("decode GOOSE: length field %d at offset 2, want %d to %d", length, headerSize, min(len(b), maxPDU))
	}
	f := Frame{APPID: binary.BigEndian.Uint16(b), Simulated: binary.BigEndian.Uint16(b[4:])&simulated != 0}
	outer, err := ber.NewReader(b[headerSize:length], headerSize).Expect(tagPDU, "goosePdu")
	if err != nil {
		return Frame{}, fmt.Errorf("decode GOOSE: %w", err)
	}
	if f.PDU, err = unmarshalPDU(outer.Sub()); err != nil {
		return Frame{}, fmt.Errorf("decode GOOSE: %w", err)
	}
	return f, nil
}

func unmarshalPDU(r *ber.Reader) (PDU, error) {
	var p PDU
	d := decoder{r: r}
	p.GocbRef = d.text(tagGocbRef, "gocbRef")
	p.TimeAllowedToLiveMs = d.uint32(tagTimeAllowedToLive, "timeAllowedtoLive")
	p.DatSet = d.text(tagDatSet, "datSet")
	p.GoID = d.optionalText(tagGoID, "goID")
	p.T = d.timestamp(tagT, "t")
	p.StNum = d.uint32(tagStNum, "stNum")
	p.SqNum = d.uint32(tagSqNum, "sqNum")
	p.Simulation = d.optionalBool(tagSimulation, "simulation")
	p.ConfRev = d.uint32(tagConfRev, "confRev")
	p.NdsCom = d.optionalBool(tagNdsCom, "ndsCom")
	entries := d.entries(tagNumDatSetEntries, "numDatSetEntries")
	all := d.expect(tagAllData, "allData")
	if d.err != nil {
		return PDU{}, d.err
	}
	data, err := readData(all.Sub(), "allData", 0)
	if err != nil {
		return PDU{}, err
	}
	if len(data) != int(entries) {
		return PDU{}, &ber.Error{Offset: all.Offset, What: "allData", Err: fmt.Errorf("%d entries, numDatSetEntries says %d", len(data), entries)}
	}
	p.AllData = data
	return p, nil
}

// decoder keeps the first error, so that a list of fields reads as a list.
type decoder struct {
	r   *ber.Reader
	err error
}

func (d *decoder) expect(tag byte, what string) ber.Element {
	if d.err != nil {
		return ber.Element{}
	}
	e, err := d.r.Expect(tag, what)
	d.err = err
	return e
}

func (d *decoder) text(tag byte, what string) string {
	e := d.expect(tag, what)
	if d.err != nil {
		return ""
	}
	s, err := e.Text(what, maxText)
	d.err = err
	return s
}

func (d *decoder) optional(tag byte, what string) (ber.Element, bool) {
	if d.err != nil {
		return ber.Element{}, false
	}
	e, ok, err := d.r.Optional(tag, what)
	d.err = err
	return e, ok
}

func (d *decoder) optionalText(tag byte, what string) string {
	e, ok := d.optional(tag, what)
	if !ok {
		return ""
	}
	s, err := e.Text(what, maxText)
	d.err = err
	return s
}

func (d *decoder) optionalBool(tag byte, what string) bool {
	e, ok := d.optional(tag, what)
	if !ok {
		return false
	}
	b, err := e.Bool(what)
	d.err = err
	return b
}

func (d *decoder) uint32(tag byte, what string) uint32 {
	e := d.expect(tag, what)
	if d.err != nil {
		return 0
	}
	n, err := e.Unsigned(what, 32)
	d.err = err
	return uint32(n)
}

func (d *decoder) entries(tag byte, what string) uint32 {
	e := d.expect(tag, what)
	if d.err != nil {
		return 0
	}
	n, err := e.Unsigned(what, 32)
	if err == nil && n > maxEntries {
		err = &ber.Error{Offset: e.Offset, What: what, Err: fmt.Errorf("%d, at most %d are allowed", n, maxEntries)}
	}
	d.err = err
	return uint32(n)
}

func (d *decoder) timestamp(tag byte, what string) Timestamp {
	e := d.expect(tag, what)
	if d.err != nil {
		return Timestamp{}
	}
	if len(e.Value) != 8 {
		d.err = &ber.Error{Offset: e.Offset, What: what, Err: errors.New("a UtcTime must have 8 bytes")}
		return Timestamp{}
	}
	return decodeTimestamp([8]byte(e.Value))
}
