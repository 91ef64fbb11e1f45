package sv

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bumpless/iec61850/ber"
)

func asdu(smpCnt uint16) ASDU {
	return ASDU{SvID: "MU01", SmpCnt: smpCnt, ConfRev: 1, SmpSynch: 2, SeqData: EncodePhsMeas([Channels]Measurement{{Value: -1000, Quality: 0x800}, {Value: int32(smpCnt)}})}
}

func full() ASDU {
	rate, mode := uint16(80), uint16(1)
	a := asdu(3999)
	a.DatSet, a.RefrTm, a.SmpRate, a.SmpMod, a.GmIdentity = "MU01/LLN0$PhsMeas1", []byte{1, 2, 3, 4, 5, 6, 7, 8}, &rate, &mode, []byte{8, 7, 6, 5, 4, 3, 2, 1}
	return a
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
	eight := Frame{APPID: 0x4000}
	for i := range 8 {
		eight.ASDUs = append(eight.ASDUs, asdu(uint16(i)))
	}
	for what, f := range map[string]Frame{
		"one ASDU": {APPID: 0x4000, ASDUs: []ASDU{asdu(0)}}, "eight": eight,
		"every optional field, simulated": {APPID: 0x7fff, Simulated: true, ASDUs: []ASDU{full()}},
		"no data":                         {ASDUs: []ASDU{{SvID: "x"}}},
		"64 ASDUs":                        {ASDUs: slices.Repeat([]ASDU{{}}, maxASDUs)},
	} {
		if got, err := Unmarshal(marshal(t, f)); err != nil || !reflect.DeepEqual(got, f) {
			t.Errorf("%s: Unmarshal(Marshal()) = %+v, %v; want %+v", what, got, err, f)
		}
	}
}

func TestTheBytesAreThoseOfTheStandard(t *testing.T) {
	want := []byte{0x40, 0, 0, 45, 0, 0, 0, 0, 0x60, 35, 0x80, 1, 1, 0xa2, 30, 0x30, 28, 0x80, 1, 'M', 0x82, 2, 0x0f, 0x9f,
		0x83, 4, 0, 0, 0, 1, 0x85, 1, 2, 0x86, 2, 0, 80, 0x87, 2, 0xab, 0xcd, 0x88, 2, 0, 1}
	rate, mode := uint16(80), uint16(1)
	f := Frame{APPID: 0x4000, ASDUs: []ASDU{{SvID: "M", SmpCnt: 3999, ConfRev: 1, SmpSynch: 2, SmpRate: &rate, SeqData: []byte{0xab, 0xcd}, SmpMod: &mode}}}
	if got := marshal(t, f); !bytes.Equal(got, want) {
		t.Errorf("Marshal() =\n% x; want\n% x", got, want)
	}
}

func TestPhsMeasIsReadBack(t *testing.T) {
	var want [Channels]Measurement
	for i := range want {
		want[i] = Measurement{Value: int32(i-4) * 1e8, Quality: uint32(i) << 11}
	}
	b := EncodePhsMeas(want)
	if got, err := DecodePhsMeas(b); got != want || err != nil {
		t.Errorf("DecodePhsMeas() = %v, %v; want %v", got, err, want)
	}
	for _, n := range []int{0, 63, 65} {
		if _, err := DecodePhsMeas(make([]byte, n)); err == nil || !strings.Contains(err.Error(), "want 64") {
			t.Errorf("DecodePhsMeas(%d bytes) = %v; want a refusal", n, err)
		}
	}
}

// raw builds a frame of the ASDU's fields; head stands before seqASDU.
func raw(head []byte, fields ...[]byte) []byte {
	seq := ber.Append(nil, 0xa2, ber.Append(nil, 0x30, bytes.Join(fields, nil)))
	pdu := ber.Append(nil, 0x60, append(head, seq...))
	n := headerSize + len(pdu)
	return append([]byte{0x40, 0, byte(n >> 8), byte(n), 0, 0, 0, 0}, pdu...)
}

func fields() [][]byte {
	return [][]byte{[]byte("\x80\x01M"), nil, {0x82, 2, 0, 7}, {0x83, 4, 0, 0, 0, 1}, nil, {0x85, 1, 2}, nil, {0x87, 2, 9, 9}, nil}
}

func TestWhatMergingUnitsSendIsAccepted(t *testing.T) {
	plain := []byte{0x80, 1, 1}
	for what, head := range map[string][]byte{
		"noASDU in two bytes": {0x80, 2, 0, 1}, "a length in long form": {0x80, 0x81, 1, 1},
		"the security field": {0x80, 1, 1, 0x81, 1, 0}, "the security field, constructed": {0x80, 1, 1, 0xa1, 2, 0x80, 0},
	} {
		f, err := Unmarshal(raw(head, fields()...))
		if err != nil || f.ASDUs[0].SmpCnt != 7 {
			t.Errorf("%s: Unmarshal() = %+v, %v", what, f, err)
		}
	}
	in := fields()
	in[8] = []byte{0x89, 8, 1, 2, 3, 4, 5, 6, 7, 8}
	f, err := Unmarshal(append(raw(plain, in...), make([]byte, 20)...))
	if err != nil || !bytes.Equal(f.ASDUs[0].GmIdentity, []byte{1, 2, 3, 4, 5, 6, 7, 8}) {
		t.Errorf("gmIdentity and Ethernet padding: Unmarshal() = %+v, %v", f, err)
	}
}

func TestAWrongFieldIsNamedWithItsOffset(t *testing.T) {
	plain := []byte{0x80, 1, 1}
	for _, c := range []struct {
		head  []byte
		field int
		new   []byte
		want  string
	}{
		{nil, 0, fields()[0], "noASDU at offset 10: tag 0xa2, want 0x80"},
		{[]byte{0x80, 1, 0}, 0, fields()[0], "noASDU at offset 12: 0, want 1 to 64"},
		{[]byte{0x80, 1, 65}, 0, fields()[0], "noASDU at offset 12: 65, want 1 to 64"},
		{[]byte{0x80, 1, 2}, 0, fields()[0], "seqASDU at offset 15: 1 ASDUs"},
		{[]byte{0x80, 1, 1, 0x81, 99}, 0, fields()[0], "security at offset 13: value of tag 0x81 at offset 13: truncated"},
		{[]byte{0x80, 1, 1, 0x99, 0}, 0, fields()[0], "seqASDU at offset 13: tag 0x99, want 0xa2"},
		{plain, 0, nil, "ASDU 0: svID at offset 17: tag 0x82, want 0x80"},
		{plain, 0, []byte("\x80\x01\n"), "ASDU 0: svID at offset 19: byte 0x0a"},
		{plain, 0, ber.Append(nil, 0x80, bytes.Repeat([]byte("x"), 130)), "ASDU 0: svID at offset 23: a string of 130 bytes"},
		{plain, 1, []byte{0x81, 1, 0}, "ASDU 0: datSet at offset 22: byte 0x00"},
		{plain, 2, nil, "ASDU 0: smpCnt at offset 20: tag 0x83, want 0x82"},
		{plain, 2, []byte{0x82, 1, 0}, "ASDU 0: smpCnt at offset 22: 1 bytes, want 2"},
		{plain, 3, []byte{0x83, 1, 1}, "ASDU 0: confRev at offset 26: 1 bytes, want 4"},
		{plain, 4, []byte{0x84, 1, 1}, "ASDU 0: refrTm at offset 32: 1 bytes, want 8"},
		{plain, 5, nil, "ASDU 0: smpSynch at offset 30: tag 0x87, want 0x85"},
		{plain, 5, []byte{0x85, 0}, "ASDU 0: smpSynch at offset 32: 0 bytes, want 1"},
		{plain, 6, []byte{0x86, 3, 0, 0, 0}, "ASDU 0: smpRate at offset 35: 3 bytes, want 2"},
		{plain, 7, nil, "ASDU 0: seqData at offset 33: tag and length at offset 33: truncated"},
		{plain, 7, []byte{0x87, 3, 0, 0}, "ASDU 0: seqData at offset 33: value of tag 0x87 at offset 33: truncated"},
		{plain, 8, []byte{0x88, 1, 0}, "ASDU 0: smpMod at offset 39: 1 bytes, want 2"},
		{plain, 8, []byte{0x89, 1, 0}, "ASDU 0: gmIdentity at offset 39: 1 bytes, want 8"},
		{plain, 8, []byte{0x8f, 1, 0}, "ASDU 0: ASDU at offset 37: 3 bytes are left behind the last field"},
	} {
		in := fields()
		in[c.field] = c.new
		if _, err := Unmarshal(raw(c.head, in...)); err == nil || !strings.Contains(err.Error(), "decode SV: "+c.want) {
			t.Errorf("Unmarshal() = %v; want %s", err, c.want)
		}
	}
}

func TestMoreASDUsThanAnnouncedAreRefused(t *testing.T) {
	b := marshal(t, Frame{ASDUs: []ASDU{{}, {}, {}}})
	b[bytes.Index(b, []byte{0x80, 1, 3})+2] = 2
	if _, err := Unmarshal(b); err == nil || !strings.Contains(err.Error(), "3 ASDUs or more, noASDU says 2") {
		t.Errorf("Unmarshal() = %v; want a refusal", err)
	}
}

func TestEveryTruncatedFrameIsRefused(t *testing.T) {
	good := marshal(t, Frame{ASDUs: []ASDU{full(), asdu(1)}})
	for n := range good {
		b := bytes.Clone(good[:n])
		if _, err := Unmarshal(b); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, len(good))
		}
		if n >= headerSize {
			b[2], b[3] = byte(n>>8), byte(n)
			if _, err := Unmarshal(b); err == nil {
				t.Errorf("the first %d of %d bytes are accepted with their length", n, len(good))
			}
		}
	}
}

func TestWhatCannotBeReadBackIsNotEncoded(t *testing.T) {
	for _, c := range []struct {
		asdus []ASDU
		want  string
	}{
		{nil, "0 ASDUs, want 1 to 64"},
		{make([]ASDU, 65), "65 ASDUs, want 1 to 64"},
		{[]ASDU{{}, {SvID: strings.Repeat("x", 130)}}, "ASDU 1: svID: a string of 130 bytes"},
		{[]ASDU{{DatSet: "\t"}}, "ASDU 0: datSet: byte 0x09"},
		{[]ASDU{{RefrTm: []byte{1}}}, "ASDU 0: refrTm: 1 bytes, want 8"},
		{[]ASDU{{GmIdentity: []byte{1}}}, "ASDU 0: gmIdentity: 1 bytes, want 8"},
		{[]ASDU{{SeqData: make([]byte, 1500)}}, "at most 1500 fit a frame"},
	} {
		if _, err := Marshal(Frame{ASDUs: c.asdus}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Marshal() = %v; want %q", err, c.want)
		}
	}
}

// FuzzUnmarshal: any bytes are decoded or refused without a panic, and a frame
// that was accepted is encoded again as a frame of the same value.
func FuzzUnmarshal(f *testing.F) {
	for _, frame := range []Frame{{ASDUs: []ASDU{asdu(1)}}, {Simulated: true, ASDUs: []ASDU{full(), full()}}, {ASDUs: make([]ASDU, 64)}} {
		b, err := Marshal(frame)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)/2])
	}
	f.Add(raw([]byte{0x80, 2, 0, 1, 0x81, 1, 0}, fields()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := Unmarshal(b)
		if err != nil {
			return
		}
		size := 0
		for _, a := range first.ASDUs {
			size += len(a.SvID) + len(a.DatSet) + len(a.SeqData)
		}
		if size > len(b) || len(first.ASDUs) > maxASDUs {
			t.Fatalf("%d ASDUs with %d bytes out of %d", len(first.ASDUs), size, len(b))
		}
		encoded, err := Marshal(first)
		if err != nil && !errors.Is(err, errTooLong) {
			t.Fatalf("Marshal(%+v) = %v", first, err)
		}
		if err != nil {
			return
		}
		second, err := Unmarshal(encoded)
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v comes back as %+v, %v", first, second, err)
		}
	})
}
