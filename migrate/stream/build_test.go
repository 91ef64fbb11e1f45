package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// build makes streams byte by byte, apart from the Writer: what it makes is
// what facts of QEMU 10.0.2 say.
type build struct{ bytes.Buffer }

func (b *build) u8(n ...byte) *build { b.Write(n); return b }
func (b *build) u16(n uint16) *build { b.Write(binary.BigEndian.AppendUint16(nil, n)); return b }
func (b *build) u32(n uint32) *build { b.Write(binary.BigEndian.AppendUint32(nil, n)); return b }
func (b *build) u64(n uint64) *build { b.Write(binary.BigEndian.AppendUint64(nil, n)); return b }
func (b *build) name(s string) *build {
	b.u8(byte(len(s)))
	b.WriteString(s)
	return b
}

const testSection = 2 // id of the RAM section

func (b *build) header() *build {
	b.u32(0x5145564d).u32(3).u8(0x07).u32(11)
	b.WriteString("pc-q35-10.0")
	return b
}

func (b *build) command(number uint16, data ...byte) *build {
	return b.u8(0x08).u16(number).u16(uint16(len(data))).u8(data...)
}

func (b *build) ramStart(blocks ...Block) *build {
	total := uint64(0)
	for _, x := range blocks {
		total += x.Size
	}
	b.u8(0x01).u32(testSection).name("ram").u32(0).u32(4).u64(total | 0x04)
	for _, x := range blocks {
		b.name(x.Name).u64(x.Size)
	}
	return b.u64(0x10).footer()
}

func (b *build) footer() *build           { return b.u8(0x7e).u32(testSection) }
func (b *build) section(open byte) *build { return b.u8(open).u32(testSection) }
func (b *build) endSection() *build       { return b.u64(0x10).footer() }

// page with its block's name; more is the same block's next page.
func (b *build) page(block string, offset uint64, fill byte) *build {
	b.u64(offset | 0x08).name(block)
	b.Write(bytes.Repeat([]byte{fill}, PageSize))
	return b
}

func (b *build) more(offset uint64, fill byte) *build {
	b.u64(offset | 0x08 | 0x20)
	b.Write(bytes.Repeat([]byte{fill}, PageSize))
	return b
}

func (b *build) zero(block string, offset uint64) *build {
	return b.u64(offset | 0x02).name(block).u8(0)
}

// tail is device state with a description, and a '}' in the middle.
func tail(state string, json string) []byte {
	var b build
	b.WriteString(state)
	b.u8(0x00, 0x06).u32(uint32(len(json)))
	b.WriteString(json)
	return b.Bytes()
}

var testBlocks = []Block{{"pc.ram", 64 * PageSize}, {"vga.vram", 16 * PageSize}, {"/rom@etc/acpi/tables", 2 * PageSize}}

// begun is a stream up to RAM START.
func begun() *build {
	return new(build).header().command(CommandOpenReturnPath).command(CommandPing, 0, 0, 0, 1).ramStart(testBlocks...)
}

// whole is a stream with everything that may be in one.
func whole() *build {
	b := begun()
	b.section(0x02).page("pc.ram", 0, 1).more(PageSize, 2).zero("vga.vram", 0).page("/rom@etc/acpi/tables", PageSize, 3).endSection()
	b.section(0x02).more(0, 4).endSection() // CONTINUE carries across sections
	b.section(0x02).endSection()
	b.command(CommandSwitchoverStart)
	b.section(0x03).page("pc.ram", 0, 5).endSection()
	b.Write(tail("device {state}", `{"devices":[]}`))
	return b
}

// describe puts a record in one line.
func describe(r Record) string {
	switch r.Kind {
	case Config:
		return "config " + r.Machine
	case Command:
		return fmt.Sprintf("command %d, %d bytes", r.Number, len(r.Raw))
	case RAMStart:
		return fmt.Sprintf("start %d blocks", len(r.Blocks))
	case Page:
		if r.Zero {
			return fmt.Sprintf("page %d:%d zero", r.Block, r.Offset/PageSize)
		}
		return fmt.Sprintf("page %d:%d %d", r.Block, r.Offset/PageSize, r.Data[PageSize-1])
	case SectionEnd:
		return fmt.Sprintf("end last=%v", r.Last)
	}
	return "?"
}

// readAll returns what a stream holds, and its device state.
func readAll(r *Reader) (lines []string, state []byte, err error) {
	for {
		record, err := r.Next()
		if err != nil {
			return lines, nil, err
		}
		lines = append(lines, describe(record))
		if record.Kind == SectionEnd && record.Last {
			state, err = r.Tail()
			return lines, state, err
		}
	}
}
