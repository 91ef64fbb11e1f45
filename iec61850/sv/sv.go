// Package sv encodes and decodes Sampled Values (IEC 61850-9-2) and counts the
// samples that are missing. It is pure; sockets are in iec61850/ether.
package sv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bumpless/iec61850/ber"
)

// EtherType of Sampled Values.
const EtherType = 0x88ba

// Bounds of a frame.
const (
	maxPDU     = 1500
	maxText    = 129
	maxASDUs   = 64
	headerSize = 8
	simulated  = 0x8000
)

var errTooLong = errors.New("too long")

// Frame is everything after the EtherType.
type Frame struct {
	APPID     uint16
	Simulated bool
	ASDUs     []ASDU
}

// ASDU is one set of samples (IEC 61850-9-2, table 14).
type ASDU struct {
	SvID     string
	DatSet   string // "" is left out
	SmpCnt   uint16
	ConfRev  uint32
	RefrTm   []byte // 8 bytes UtcTime, or nil
	SmpSynch byte   // 0 none, 1 local, 2 global
	SmpRate  *uint16
	SeqData  []byte // the data set's values, of fixed size
	SmpMod   *uint16
	// GmIdentity is the PTP grandmaster's clock identity, 8 bytes (IEC
	// 61869-9), or nil.
	GmIdentity []byte
}

// Tags of savPdu and ASDU, context-specific.
const (
	tagPDU      = 0x60
	tagNoASDU   = 0x80
	tagSeqASDU  = 0xa2
	tagASDU     = 0x30
	tagSvID     = 0x80
	tagDatSet   = 0x81
	tagSmpCnt   = 0x82
	tagConfRev  = 0x83
	tagRefrTm   = 0x84
	tagSmpSynch = 0x85
	tagSmpRate  = 0x86
	tagSeqData  = 0x87
	tagSmpMod   = 0x88

	tagSecurity      = 0x81 // reserved by the standard; skipped
	tagSecurityGroup = 0xa1 // the same, constructed
	tagGmIdentity    = 0x89
)

// Marshal encodes the frame: APPID, length, reserved fields and savPdu.
func Marshal(f Frame) ([]byte, error) {
	if len(f.ASDUs) == 0 || len(f.ASDUs) > maxASDUs {
		return nil, fmt.Errorf("encode SV: %d ASDUs, want 1 to %d", len(f.ASDUs), maxASDUs)
	}
	var seq []byte
	for i, a := range f.ASDUs {
		if err := a.check(); err != nil {
			return nil, fmt.Errorf("encode SV: ASDU %d: %w", i, err)
		}
		seq = ber.Append(seq, tagASDU, a.append(nil))
	}
	body := ber.AppendUnsigned(nil, tagNoASDU, uint64(len(f.ASDUs)))
	body = ber.Append(nil, tagPDU, ber.Append(body, tagSeqASDU, seq))
	if headerSize+len(body) > maxPDU {
		return nil, fmt.Errorf("encode SV: %w: %d bytes, at most %d fit a frame", errTooLong, headerSize+len(body), maxPDU)
	}
	out := make([]byte, headerSize, headerSize+len(body))
	binary.BigEndian.PutUint16(out[0:], f.APPID)
	binary.BigEndian.PutUint16(out[2:], uint16(headerSize+len(body)))
	if f.Simulated {
		binary.BigEndian.PutUint16(out[4:], simulated)
	}
	return append(out, body...), nil
}

func (a ASDU) check() error {
	for _, f := range []struct{ what, text string }{{"svID", a.SvID}, {"datSet", a.DatSet}} {
		if err := ber.CheckText(f.text, maxText); err != nil {
			return fmt.Errorf("%s: %w", f.what, err)
		}
	}
	if a.RefrTm != nil && len(a.RefrTm) != 8 {
		return fmt.Errorf("refrTm: %d bytes, want 8", len(a.RefrTm))
	}
	if a.GmIdentity != nil && len(a.GmIdentity) != 8 {
		return fmt.Errorf("gmIdentity: %d bytes, want 8", len(a.GmIdentity))
	}
	return nil
}

func (a ASDU) append(b []byte) []byte {
	b = ber.Append(b, tagSvID, []byte(a.SvID))
	if a.DatSet != "" {
		b = ber.Append(b, tagDatSet, []byte(a.DatSet))
	}
	b = ber.Append(b, tagSmpCnt, binary.BigEndian.AppendUint16(nil, a.SmpCnt))
	b = ber.Append(b, tagConfRev, binary.BigEndian.AppendUint32(nil, a.ConfRev))
	if a.RefrTm != nil {
		b = ber.Append(b, tagRefrTm, a.RefrTm)
	}
	b = ber.Append(b, tagSmpSynch, []byte{a.SmpSynch})
	if a.SmpRate != nil {
		b = ber.Append(b, tagSmpRate, binary.BigEndian.AppendUint16(nil, *a.SmpRate))
	}
	b = ber.Append(b, tagSeqData, a.SeqData)
	if a.SmpMod != nil {
		b = ber.Append(b, tagSmpMod, binary.BigEndian.AppendUint16(nil, *a.SmpMod))
	}
	if a.GmIdentity != nil {
		b = ber.Append(b, tagGmIdentity, a.GmIdentity)
	}
	return b
}

// Unmarshal decodes what follows the EtherType. Bytes behind the length field's
// end are ignored.
func Unmarshal(b []byte) (Frame, error) {
	if len(b) < headerSize {
		return Frame{}, fmt.Errorf("decode SV: %d bytes, the header has %d: %w", len(b), headerSize, ber.ErrTruncated)
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < headerSize || length > len(b) || length > maxPDU {
		return Frame{}, fmt.Errorf("decode SV: length field %d at offset 2, want %d to %d", length, headerSize, min(len(b), maxPDU))
	}
	f := Frame{APPID: binary.BigEndian.Uint16(b), Simulated: binary.BigEndian.Uint16(b[4:])&simulated != 0}
	var err error
	if f.ASDUs, err = unmarshalPDU(b[headerSize:length]); err != nil {
		return Frame{}, fmt.Errorf("decode SV: %w", err)
	}
	return f, nil
}

func unmarshalPDU(b []byte) ([]ASDU, error) {
	outer, err := ber.NewReader(b, headerSize).Expect(tagPDU, "savPdu")
	if err != nil {
		return nil, err
	}
	r := outer.Sub()
	count, err := r.Expect(tagNoASDU, "noASDU")
	if err != nil {
		return nil, err
	}
	n, err := count.Unsigned("noASDU", 16)
	if err != nil {
		return nil, err
	}
	if n == 0 || n > maxASDUs {
		return nil, &ber.Error{Offset: count.Offset, What: "noASDU", Err: fmt.Errorf("%d, want 1 to %d", n, maxASDUs)}
	}
	for _, tag := range []byte{tagSecurity, tagSecurityGroup} {
		if _, _, err := r.Optional(tag, "security"); err != nil {
			return nil, err
		}
	}
	seq, err := r.Expect(tagSeqASDU, "seqASDU")
	if err != nil {
		return nil, err
	}
	var all []ASDU
	for s := seq.Sub(); s.More(); {
		e, err := s.Expect(tagASDU, fmt.Sprintf("ASDU %d", len(all)))
		if err != nil {
			return nil, err
		}
		a, err := unmarshalASDU(e.Sub())
		if err != nil {
			return nil, fmt.Errorf("ASDU %d: %w", len(all), err)
		}
		if all = append(all, a); len(all) > int(n) {
			break
		}
	}
	if len(all) != int(n) {
		return nil, &ber.Error{Offset: seq.Offset, What: "seqASDU", Err: fmt.Errorf("%d ASDUs or more, noASDU says %d", len(all), n)}
	}
	return all, nil
}

func unmarshalASDU(r *ber.Reader) (a ASDU, err error) {
	e, err := r.Expect(tagSvID, "svID")
	if err != nil {
		return a, err
	}
	if a.SvID, err = e.Text("svID", maxText); err != nil {
		return a, err
	}
	if e, ok, err := r.Optional(tagDatSet, "datSet"); err != nil {
		return a, err
	} else if ok {
		if a.DatSet, err = e.Text("datSet", maxText); err != nil {
			return a, err
		}
	}
	fixed := []struct {
		tag      byte
		what     string
		size     int // 0: any
		optional bool
		set      func([]byte)
	}{
		{tagSmpCnt, "smpCnt", 2, false, func(v []byte) { a.SmpCnt = binary.BigEndian.Uint16(v) }},
		{tagConfRev, "confRev", 4, false, func(v []byte) { a.ConfRev = binary.BigEndian.Uint32(v) }},
		{tagRefrTm, "refrTm", 8, true, func(v []byte) { a.RefrTm = append([]byte(nil), v...) }},
		{tagSmpSynch, "smpSynch", 1, false, func(v []byte) { a.SmpSynch = v[0] }},
		{tagSmpRate, "smpRate", 2, true, func(v []byte) { n := binary.BigEndian.Uint16(v); a.SmpRate = &n }},
		{tagSeqData, "seqData", 0, false, func(v []byte) { a.SeqData = append([]byte(nil), v...) }},
		{tagSmpMod, "smpMod", 2, true, func(v []byte) { n := binary.BigEndian.Uint16(v); a.SmpMod = &n }},
		{tagGmIdentity, "gmIdentity", 8, true, func(v []byte) { a.GmIdentity = append([]byte(nil), v...) }},
	}
	for _, f := range fixed {
		if f.optional && !r.Has(f.tag) {
			continue
		}
		e, err := r.Expect(f.tag, f.what)
		if err != nil {
			return a, err
		}
		if f.size != 0 && len(e.Value) != f.size {
			return a, &ber.Error{Offset: e.Offset, What: f.what, Err: fmt.Errorf("%d bytes, want %d", len(e.Value), f.size)}
		}
		f.set(e.Value)
	}
	return a, r.End("ASDU")
}
