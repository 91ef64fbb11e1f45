// Package ether sends and receives raw Ethernet frames with their VLAN tags.
// It is the only room with raw sockets.
package ether

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

// MaxFrame bounds a frame without FCS, in bytes: header, VLAN tag, 1500 bytes
// and the trailer of PRP (IEC 62439-3).
const MaxFrame = 14 + 4 + maxPayload

const maxPayload = 1500 + 6

const tpid8021Q = 0x8100

// Addr is an Ethernet address.
type Addr [6]byte

func (a Addr) String() string { return net.HardwareAddr(a[:]).String() }

// ParseAddr reads aa:bb:cc:dd:ee:ff.
func ParseAddr(s string) (Addr, error) {
	hw, err := net.ParseMAC(s)
	if err != nil || len(hw) != 6 {
		return Addr{}, fmt.Errorf("%q is not an Ethernet address such as 01:0c:cd:01:00:01", s)
	}
	return Addr(hw), nil
}

// VLAN is an IEEE 802.1Q tag. GOOSE and SV are sent with one (IEC 61850-8-1,
// annex C: priority 4, VID 0 by default).
type VLAN struct {
	Present  bool
	Priority uint8  // PCP, 0 to 7
	DEI      bool   // drop eligible
	ID       uint16 // VID, 0 to 4095; 0 is "priority only"
}

func (v VLAN) tci() uint16 {
	tci := uint16(v.Priority&7)<<13 | v.ID&0xfff
	if v.DEI {
		tci |= 1 << 12
	}
	return tci
}

func vlanOf(tci uint16) VLAN {
	return VLAN{Present: true, Priority: uint8(tci >> 13), DEI: tci&(1<<12) != 0, ID: tci & 0xfff}
}

// Frame is one Ethernet frame.
type Frame struct {
	Dst, Src  Addr
	VLAN      VLAN
	EtherType uint16
	Payload   []byte
	// Received is the kernel's software time stamp; zero when sending.
	Received time.Time
}

// AppendFrame encodes the frame, without FCS.
func AppendFrame(b []byte, f Frame) ([]byte, error) {
	if f.VLAN.Priority > 7 || f.VLAN.ID > 0xfff {
		return nil, fmt.Errorf("encode frame: VLAN priority %d or id %d is out of range", f.VLAN.Priority, f.VLAN.ID)
	}
	if len(f.Payload) > maxPayload {
		return nil, fmt.Errorf("encode frame: a payload of %d bytes, at most %d are allowed", len(f.Payload), maxPayload)
	}
	b = append(b, f.Dst[:]...)
	b = append(b, f.Src[:]...)
	if f.VLAN.Present {
		b = binary.BigEndian.AppendUint16(b, tpid8021Q)
		b = binary.BigEndian.AppendUint16(b, f.VLAN.tci())
	}
	b = binary.BigEndian.AppendUint16(b, f.EtherType)
	return append(b, f.Payload...), nil
}

// DecodeFrame decodes a frame as it is on the wire. Payload shares b's memory.
func DecodeFrame(b []byte) (Frame, error) {
	if len(b) < 14 {
		return Frame{}, fmt.Errorf("decode frame: %d bytes, an Ethernet header has 14", len(b))
	}
	f := Frame{Dst: Addr(b[:6]), Src: Addr(b[6:12]), EtherType: binary.BigEndian.Uint16(b[12:])}
	rest := b[14:]
	if f.EtherType == tpid8021Q {
		if len(rest) < 4 {
			return Frame{}, fmt.Errorf("decode frame: the VLAN tag at offset 14 is truncated")
		}
		f.VLAN = vlanOf(binary.BigEndian.Uint16(rest))
		f.EtherType = binary.BigEndian.Uint16(rest[2:])
		rest = rest[4:]
	}
	if len(rest) > maxPayload {
		return Frame{}, fmt.Errorf("decode frame: a payload of %d bytes at offset %d, at most %d are allowed", len(rest), len(b)-len(rest), maxPayload)
	}
	f.Payload = rest
	return f, nil
}
