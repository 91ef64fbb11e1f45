package link

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// PageSize of a page on the link, in bytes.
const PageSize = 4096

// MaxShortPages bounds the pages of a batch that come as a delta or as the same as
// another one: a receiver makes whole contents of them.
const MaxShortPages = 64

// maxZeroPages bounds the pages of a batch that are all zero.
const maxZeroPages = 1024

// Kind of a page in a batch.
type Kind uint8

// Kinds. The number is on the wire. From Keep on they are for peers that have
// agreed on memory for them in HELLO, from Same on for those that said there that
// they know them (LastKind).
const (
	Whole Kind = 0 // Data
	Zero  Kind = 1 // all zero
	Keep  Kind = 2 // Data, which both ends keep in Slot of this connection
	Delta Kind = 3 // Data leads from what Slot holds to the content, which takes its place there
	Same  Kind = 4 // what Slot holds
	Zeros Kind = 5 // all zero, and so are the More pages behind it, each in this version
)

// LastKind that this release knows.
const LastKind = Zeros

// Slotted tells whether the page's content takes its place in Slot.
func (k Kind) Slotted() bool { return k == Keep || k == Delta }

// Page is one page in a batch.
type Page struct {
	Block   uint8
	Kind    Kind
	Index   uint32 // in the block
	Version uint32
	Slot    uint32 // of Keep, Delta and Same
	More    uint16 // of Zeros
	Data    []byte // PageSize bytes; a delta; nil when Zero, Zeros and Same
}

// pageHead: u8 block | u8 kind | u32 index | u32 version
const pageHead = 10

// AppendPages encodes a batch's body: all heads, then all contents. That of
// Keep is u32 slot | content, of Delta u32 slot | u16 length | delta, of Same u32
// slot, of Zeros u16 more.
func AppendPages(b []byte, pages []Page) []byte {
	for _, p := range pages {
		b = append(b, p.Block, byte(p.Kind))
		b = binary.BigEndian.AppendUint32(b, p.Index)
		b = binary.BigEndian.AppendUint32(b, p.Version)
	}
	for _, p := range pages {
		switch p.Kind {
		case Keep, Same:
			b = binary.BigEndian.AppendUint32(b, p.Slot)
		case Delta:
			b = binary.BigEndian.AppendUint32(b, p.Slot)
			b = binary.BigEndian.AppendUint16(b, uint16(len(p.Data)))
		case Zeros:
			b = binary.BigEndian.AppendUint16(b, p.More)
		}
		b = append(b, p.Data...)
	}
	return b
}

// ReadPages decodes a batch of count pages into pages, whose memory is used
// again. Data shares body's memory.
func ReadPages(body []byte, count int, pages []Page) ([]Page, error) {
	if count > maxZeroPages || len(body) < count*pageHead {
		return nil, fmt.Errorf("read pages: %d pages in %d bytes", count, len(body))
	}
	heads, data := body[:count*pageHead], body[count*pageHead:]
	pages = pages[:0]
	for i := range count {
		h := heads[i*pageHead:]
		p := Page{Block: h[0], Kind: Kind(h[1]), Index: binary.BigEndian.Uint32(h[2:]), Version: binary.BigEndian.Uint32(h[6:])}
		var err error
		if data, err = p.readData(data); err != nil {
			return nil, fmt.Errorf("read pages: page %d %w", i, err)
		}
		pages = append(pages, p)
	}
	if len(data) != 0 {
		return nil, errors.New("read pages: bytes are left behind the last page")
	}
	return pages, nil
}

var errTruncated = errors.New("is truncated")

// readData takes the page's part of data, and returns the rest.
func (p *Page) readData(data []byte) (rest []byte, err error) {
	size := 0
	switch p.Kind {
	case Zero:
	case Whole:
		size = PageSize
	case Keep:
		size = PageSize
		p.Slot, data, err = readUint32(data)
	case Delta:
		if p.Slot, data, err = readUint32(data); err == nil {
			var n uint16
			n, data, err = readUint16(data)
			size = int(n)
		}
	case Same:
		p.Slot, data, err = readUint32(data)
	case Zeros:
		p.More, data, err = readUint16(data)
	default:
		return nil, fmt.Errorf("has the unknown kind %d", p.Kind)
	}
	if err != nil || len(data) < size {
		return nil, errTruncated
	}
	if p.Kind == Whole || p.Kind == Keep || p.Kind == Delta {
		p.Data = data[:size:size]
	}
	return data[size:], nil
}

func readUint32(b []byte) (n uint32, rest []byte, err error) {
	if len(b) < 4 {
		return 0, nil, errTruncated
	}
	return binary.BigEndian.Uint32(b), b[4:], nil
}

func readUint16(b []byte) (n uint16, rest []byte, err error) {
	if len(b) < 2 {
		return 0, nil, errTruncated
	}
	return binary.BigEndian.Uint16(b), b[2:], nil
}
