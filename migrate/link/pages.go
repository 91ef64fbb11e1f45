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

// Page is one page in a batch.
type Page struct {
	Block   uint8
	Index   uint32 // in the block
	Version uint32
	Data    []byte // PageSize bytes; nil: all zero
}

// pageHead: u8 block | u8 zero | u32 index | u32 version
const pageHead = 10

// AppendPages encodes a batch's body: all heads, then all contents.
func AppendPages(b []byte, pages []Page) []byte {
	for _, p := range pages {
		zero := byte(0)
		if p.Data == nil {
			zero = 1
		}
		b = append(b, p.Block, zero)
		b = binary.BigEndian.AppendUint32(b, p.Index)
		b = binary.BigEndian.AppendUint32(b, p.Version)
	}
	for _, p := range pages {
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
		p := Page{Block: h[0], Index: binary.BigEndian.Uint32(h[2:]), Version: binary.BigEndian.Uint32(h[6:])}
		switch h[1] {
		case 0:
			if len(data) < PageSize {
				return nil, fmt.Errorf("read pages: the content of page %d is truncated", i)
			}
			p.Data, data = data[:PageSize:PageSize], data[PageSize:]
		case 1:
		default:
			return nil, fmt.Errorf("read pages: page %d has the unknown kind %d", i, h[1])
		}
		pages = append(pages, p)
	}
	if len(data) != 0 {
		return nil, errors.New("read pages: bytes are left behind the last page")
	}
	return pages, nil
}
