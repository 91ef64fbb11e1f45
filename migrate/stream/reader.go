package stream

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Reader takes a source's stream apart.
type Reader struct {
	in     *bufio.Reader
	offset int64

	blocks  []Block
	byName  map[string]int
	section uint32 // id of the RAM section
	block   int    // of the last page; CONTINUE carries across sections
	inPages bool
	last    bool
	started bool
	page    [PageSize]byte
}

// NewReader reads from in. size bounds how far it reads ahead, in bytes.
func NewReader(in io.Reader, size int) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, size), block: -1}
}

func (r *Reader) fail(field string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return &Error{Offset: r.offset, Field: field, Err: err}
}

func (r *Reader) bytes(field string, n int) ([]byte, error) {
	b := make([]byte, n)
	return b, r.full(field, b)
}

func (r *Reader) full(field string, b []byte) error {
	n, err := io.ReadFull(r.in, b)
	if err != nil {
		r.offset += int64(n)
		return r.fail(field, err)
	}
	r.offset += int64(n)
	return nil
}

func (r *Reader) u8(field string) (byte, error) {
	b, err := r.in.ReadByte()
	if err != nil {
		return 0, r.fail(field, err)
	}
	r.offset++
	return b, nil
}

func (r *Reader) u32(field string) (uint32, error) {
	var b [4]byte
	err := r.full(field, b[:])
	return binary.BigEndian.Uint32(b[:]), err
}

func (r *Reader) u64(field string) (uint64, error) {
	b, err := r.in.Peek(8)
	if err != nil {
		return 0, r.fail(field, err)
	}
	n := binary.BigEndian.Uint64(b)
	_, err = r.in.Discard(8)
	r.offset += 8
	return n, err
}

// Offset of what Next looks at next; Taken is how far the input has been taken,
// read ahead included. Both in bytes since the start.
func (r *Reader) Offset() int64 { return r.offset }

// Taken is described at Offset.
func (r *Reader) Taken() int64 { return r.offset + int64(r.in.Buffered()) }

// Next returns the next record. After the SectionEnd that is Last, only Tail
// may follow.
func (r *Reader) Next() (Record, error) {
	switch {
	case !r.started:
		r.started = true
		return r.config()
	case r.inPages:
		return r.nextPage()
	case r.last:
		return Record{}, r.fail("section", errors.New("RAM has ended: the rest is device state"))
	}
	open, err := r.u8("section")
	if err != nil {
		return Record{}, err
	}
	switch open {
	case openCommand:
		return r.command()
	case openStart:
		return r.ramStart()
	case openPart, openLast:
		return r.ramSection(open == openLast)
	case openFull:
		return Record{}, r.fail("section", errors.New("device state before the end of RAM (virtio-mem?): such a guest cannot be moved"))
	}
	return Record{}, r.fail("section", fmt.Errorf("unknown opening byte 0x%02x", open))
}

func (r *Reader) config() (Record, error) {
	head, err := r.bytes("header", 13)
	if err != nil {
		return Record{}, err
	}
	if m := binary.BigEndian.Uint32(head); m != magic {
		return Record{}, &Error{Field: "magic", Err: fmt.Errorf("0x%08x, want 0x%08x", m, uint32(magic))}
	}
	if v := binary.BigEndian.Uint32(head[4:]); v != streamVersion {
		return Record{}, &Error{Offset: 4, Field: "version", Err: fmt.Errorf("%d, want %d", v, streamVersion)}
	}
	n := binary.BigEndian.Uint32(head[9:])
	if head[8] != openConfig || n > maxMachine {
		return Record{}, &Error{Offset: 8, Field: "configuration", Err: fmt.Errorf("opening byte 0x%02x and length %d, want 0x07 and at most %d", head[8], n, maxMachine)}
	}
	name, err := r.bytes("machine name", int(n))
	if err != nil {
		return Record{}, err
	}
	if next, err := r.in.Peek(1); err == nil && next[0] == subsectionTag {
		return Record{}, r.fail("configuration", errors.New("subsections are not supported: start the guest with QEMU's default global settings"))
	}
	return Record{Kind: Config, Raw: append(head, name...), Machine: string(name)}, nil
}

func (r *Reader) command() (Record, error) {
	head, err := r.bytes("command", 4)
	if err != nil {
		return Record{}, err
	}
	number, n := binary.BigEndian.Uint16(head), int(binary.BigEndian.Uint16(head[2:]))
	switch number {
	case CommandOpenReturnPath, CommandPing, CommandSwitchoverStart:
	default:
		return Record{}, r.fail("command", fmt.Errorf("number %d is not supported (post-copy?)", number))
	}
	if n > maxCommand {
		return Record{}, r.fail("command", fmt.Errorf("number %d with %d bytes of data, at most %d are allowed", number, n, maxCommand))
	}
	data, err := r.bytes("command data", n)
	if err != nil {
		return Record{}, err
	}
	raw := append([]byte{openCommand}, head...)
	return Record{Kind: Command, Number: number, Raw: append(raw, data...)}, nil
}

func (r *Reader) ramStart() (Record, error) {
	if r.blocks != nil {
		return Record{}, r.fail("section", errors.New("a second START section: only RAM may be iterated (block migration is not supported)"))
	}
	raw := []byte{openStart}
	id, err := r.u32("section id")
	if err != nil {
		return Record{}, err
	}
	name, err := r.name("section name")
	if err != nil {
		return Record{}, err
	}
	tail, err := r.bytes("section versions", 8)
	if err != nil {
		return Record{}, err
	}
	if v := binary.BigEndian.Uint32(tail[4:]); name != "ram" || v != ramVersion {
		return Record{}, r.fail("section", fmt.Errorf("%q version %d, want \"ram\" version %d", name, v, ramVersion))
	}
	raw = binary.BigEndian.AppendUint32(raw, id)
	raw = append(append(raw, byte(len(name))), name...)
	raw = append(raw, tail...)
	if raw, err = r.readBlocks(raw); err != nil {
		return Record{}, err
	}
	r.section = id
	footer, err := r.footer()
	return Record{Kind: RAMStart, Raw: append(raw, footer...), Blocks: r.blocks}, err
}

func (r *Reader) readBlocks(raw []byte) ([]byte, error) {
	total, err := r.u64("RAM size")
	if err != nil {
		return nil, err
	}
	if size := total &^ flagMask; total&flagMask != flagMemSize || size == 0 || size > MaxRAMBytes {
		return nil, r.fail("RAM size", fmt.Errorf("0x%x, want flag 0x%x and 1 to %d bytes", total, flagMemSize, uint64(MaxRAMBytes)))
	}
	raw = binary.BigEndian.AppendUint64(raw, total)
	r.byName = map[string]int{}
	for left := total &^ flagMask; left > 0; {
		name, err := r.name("block name")
		if err != nil {
			return nil, err
		}
		size, err := r.u64("block size")
		if err != nil {
			return nil, err
		}
		if size == 0 || size%PageSize != 0 || size > left || len(r.blocks) == MaxBlocks {
			return nil, r.fail("block size", fmt.Errorf("block %q of %d bytes does not fit (%d bytes and %d blocks are left)", name, size, left, MaxBlocks-len(r.blocks)))
		}
		if _, twice := r.byName[name]; twice {
			return nil, r.fail("block name", fmt.Errorf("%q comes twice", name))
		}
		left -= size
		r.byName[name] = len(r.blocks)
		r.blocks = append(r.blocks, Block{Name: name, Size: size})
		raw = append(append(raw, byte(len(name))), name...)
		raw = binary.BigEndian.AppendUint64(raw, size)
	}
	eos, err := r.u64("end of RAM START")
	if err == nil && eos != flagEOS {
		err = r.fail("end of RAM START", fmt.Errorf("0x%x, want 0x%x (ignore-shared or mapped-ram?)", eos, flagEOS))
	}
	return binary.BigEndian.AppendUint64(raw, eos), err
}

func (r *Reader) name(field string) (string, error) {
	n, err := r.u8(field)
	if err != nil {
		return "", err
	}
	b, err := r.bytes(field, int(n))
	return string(b), err
}

func (r *Reader) footer() ([]byte, error) {
	b, err := r.bytes("section footer", 5)
	if err != nil {
		return nil, err
	}
	if id := binary.BigEndian.Uint32(b[1:]); b[0] != openFooter || id != r.section {
		return nil, r.fail("section footer", fmt.Errorf("0x%02x of section %d, want 0x%02x of section %d", b[0], id, openFooter, r.section))
	}
	return b, nil
}

func (r *Reader) ramSection(last bool) (Record, error) {
	id, err := r.u32("section id")
	if err != nil {
		return Record{}, err
	}
	if r.blocks == nil || id != r.section {
		return Record{}, r.fail("section id", fmt.Errorf("%d, want %d, that of RAM", id, r.section))
	}
	r.inPages, r.last = true, last
	return r.nextPage()
}

func (r *Reader) nextPage() (Record, error) {
	head, err := r.u64("page header")
	if err != nil {
		return Record{}, err
	}
	flags, offset := head&flagMask, head&^uint64(flagMask)
	if flags == flagEOS {
		r.inPages = false
		_, err := r.footer()
		return Record{Kind: SectionEnd, Last: r.last}, err
	}
	if flags&flagContinue == 0 {
		name, err := r.name("block name")
		if err != nil {
			return Record{}, err
		}
		index, known := r.byName[name]
		if !known {
			return Record{}, r.fail("block name", fmt.Errorf("%q was not announced", name))
		}
		r.block = index
	}
	if r.block < 0 {
		return Record{}, r.fail("page header", errors.New("CONTINUE before the first block"))
	}
	if offset >= r.blocks[r.block].Size {
		return Record{}, r.fail("page header", fmt.Errorf("offset 0x%x is outside block %q of 0x%x bytes", offset, r.blocks[r.block].Name, r.blocks[r.block].Size))
	}
	page := Record{Kind: Page, Block: r.block, Offset: offset}
	switch flags &^ flagContinue {
	case flagZero:
		fill, err := r.u8("zero page")
		if err == nil && fill != 0 {
			err = r.fail("zero page", fmt.Errorf("filled with 0x%02x", fill))
		}
		page.Zero = true
		return page, err
	case flagPage:
		page.Data = r.page[:]
		return page, r.full("page", page.Data)
	}
	return Record{}, r.fail("page header", fmt.Errorf("flags 0x%x are not supported (xbzrle, multifd or compression must be off at the source)", flags))
}
