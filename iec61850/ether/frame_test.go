package ether

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

var (
	stationA = Addr{0x52, 0x54, 0, 0, 0, 1}
	gooseDst = Addr{0x01, 0x0c, 0xcd, 0x01, 0x00, 0x01}
)

func TestAFrameIsReadBack(t *testing.T) {
	for _, vlan := range []VLAN{{}, {Present: true}, {Present: true, Priority: 4, ID: 5}, {Present: true, Priority: 7, DEI: true, ID: 4095}} {
		for _, size := range []int{0, 1, maxPayload} {
			want := Frame{Dst: gooseDst, Src: stationA, VLAN: vlan, EtherType: 0x88b8, Payload: make([]byte, size)}
			b, err := AppendFrame(nil, want)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := DecodeFrame(b); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("DecodeFrame(AppendFrame(%+v)) = %+v, %v", want, got, err)
			}
		}
	}
}

func TestTheBytesAreThoseOfTheStandard(t *testing.T) {
	b, err := AppendFrame(nil, Frame{Dst: gooseDst, Src: stationA, VLAN: VLAN{Present: true, Priority: 4, DEI: true, ID: 0x123}, EtherType: 0x88b8, Payload: []byte{9}})
	want := []byte{0x01, 0x0c, 0xcd, 0x01, 0x00, 0x01, 0x52, 0x54, 0, 0, 0, 1, 0x81, 0x00, 0x91, 0x23, 0x88, 0xb8, 9}
	if err != nil || !bytes.Equal(b, want) {
		t.Errorf("AppendFrame() = % x, %v; want % x", b, err, want)
	}
}

func TestWhatIsNoFrameIsRefused(t *testing.T) {
	tagged := append(make([]byte, 12), 0x81, 0x00)
	for _, c := range []struct {
		in   []byte
		want string
	}{
		{nil, "0 bytes, an Ethernet header has 14"},
		{make([]byte, 13), "13 bytes"},
		{tagged, "the VLAN tag at offset 14 is truncated"},
		{append(tagged, 0, 0, 0), "the VLAN tag at offset 14 is truncated"},
		{make([]byte, 14+maxPayload+1), "a payload of 1507 bytes at offset 14"},
		{append(append(tagged, 0, 0, 0, 0), make([]byte, maxPayload+1)...), "a payload of 1507 bytes at offset 18"},
	} {
		if _, err := DecodeFrame(c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("DecodeFrame(%d bytes) = %v; want %q", len(c.in), err, c.want)
		}
	}
	for _, f := range []Frame{{VLAN: VLAN{Priority: 8}}, {VLAN: VLAN{ID: 4096}}, {Payload: make([]byte, maxPayload+1)}} {
		if _, err := AppendFrame(nil, f); err == nil {
			t.Errorf("AppendFrame(%+v) accepts it", f.VLAN)
		}
	}
}

func TestAddressesAreReadAndWritten(t *testing.T) {
	if a, err := ParseAddr("01:0c:cd:01:00:01"); err != nil || a != gooseDst || a.String() != "01:0c:cd:01:00:01" {
		t.Errorf("ParseAddr() = %v, %v", a, err)
	}
	for _, s := range []string{"", "01:0c:cd:01:00", "01:0c:cd:01:00:01:02:03", "x"} {
		if _, err := ParseAddr(s); err == nil || !strings.Contains(err.Error(), "is not an Ethernet address") {
			t.Errorf("ParseAddr(%q) = %v; want a refusal", s, err)
		}
	}
}

// FuzzDecodeFrame: any bytes are decoded or refused without a panic, and what
// was decoded is encoded as the same bytes.
func FuzzDecodeFrame(f *testing.F) {
	for _, vlan := range []VLAN{{}, {Present: true, Priority: 4}} {
		b, err := AppendFrame(nil, Frame{Dst: gooseDst, Src: stationA, VLAN: vlan, EtherType: 0x88b8, Payload: []byte("payload")})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:15])
	}
	f.Add(append(make([]byte, 12), 0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x88, 0xba))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := DecodeFrame(b)
		if err != nil {
			return
		}
		if again, err := AppendFrame(nil, frame); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("% x comes back as % x, %v", b, again, err)
		}
	})
}
