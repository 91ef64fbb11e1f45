package link

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// PageSize of a page on the link, in bytes.
const PageSize = 4096

// MaxBatchPages is how many pages a batch holds: 64 KiB of content, beyond
// which compression gains nothing.
const MaxBatchPages = 16

// maxZeroPages bounds the pages of a batch that are all zero.
const maxZeroPages = 1024

// Kind of a page in a batch.
type Kind uint8

// Kinds. The number is on the wire. The last two are for peers that have agreed
// on memory for them in HELLO.
const (
	Whole Kind = 0 // Data
	Zero  Kind = 1 // all zero
	Keep  Kind = 2 // Data, which both ends keep in Slot of this connection
	Delta Kind = 3 // Data leads from what Slot holds to the content, which takes its place there
)

// Page is one page in a batch.
type Page struct {
	Block   uint8
	Kind    Kind
	Index   uint32 // in the block
	Version uint32
	Slot    uint32 // of Keep and Delta
	Data    []byte // PageSize bytes; a delta; nil when Zero
}

// pageHead: u8 block | u8 kind | u32 index | u32 version
const pageHead = 10

// AppendPages encodes a batch's body: all heads, then all contents. That of
// Keep is u32 slot | content, of Delta u32 slot | u16 length | delta.
func AppendPages(b []byte, pages []Page) []byte {
	for _, p := range pages {
		b = append(b, p.Block, byte(p.Kind))
		b = binary.BigEndian.AppendUint32(b, p.Index)
		b = binary.BigEndian.AppendUint32(b, p.Version)
	}
	for _, p := range pages {
		if p.Kind == Keep || p.Kind == Delta {
			b = binary.BigEndian.AppendUint32(b, p.Slot)
		}
		if p.Kind == Delta {
			b = binary.BigEndian.AppendUint16(b, uint16(len(p.Data)))
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
	size := PageSize
	switch p.Kind {
	case Zero:
		return data, nil
	case Whole, Keep, Delta:
	default:
		return nil, fmt.Errorf("has the unknown kind %d", p.Kind)
	}
	if p.Kind != Whole {
		if len(data) < 4 {
			return nil, errTruncated
		}
		p.Slot, data = binary.BigEndian.Uint32(data), data[4:]
	}
	if p.Kind == Delta {
		if len(data) < 2 {
			return nil, errTruncated
		}
		size, data = int(binary.BigEndian.Uint16(data)), data[2:]
	}
	if len(data) < size {
		return nil, errTruncated
	}
	p.Data = data[:size:size]
	return data[size:], nil
}
