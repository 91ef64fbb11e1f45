package stream

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Writer makes a stream for a destination. Configuration, commands and RAM
// START are passed on as they were read; pages may come in any order, and the
// last version of a page is the one that counts.
type Writer struct {
	out     *bufio.Writer
	blocks  []Block
	section uint32
	block   int
	open    bool
	ended   bool
	scratch []byte
}

// NewWriter writes to out through a buffer of size bytes.
func NewWriter(out io.Writer, size int) *Writer {
	return &Writer{out: bufio.NewWriterSize(out, size), block: -1}
}

// Raw passes bytes of a Config or Command record on.
func (w *Writer) Raw(b []byte) error {
	if err := w.closeSection(); err != nil {
		return err
	}
	_, err := w.out.Write(b)
	return err
}

// Start passes a RAMStart record on and returns its blocks; raw must be a whole
// RAM START section.
func (w *Writer) Start(raw []byte) ([]Block, error) {
	r := NewReader(bytes.NewReader(raw), 16)
	r.started = true
	record, err := r.Next()
	if err != nil {
		return nil, err
	}
	if record.Kind != RAMStart {
		return nil, errors.New("QEMU stream: not a RAM START section")
	}
	if r.offset != int64(len(raw)) {
		return nil, fmt.Errorf("QEMU stream: %d bytes follow the RAM START section", int64(len(raw))-r.offset)
	}
	w.blocks, w.section = record.Blocks, r.section
	return w.blocks, w.Raw(raw)
}

// Page writes a page: PageSize bytes, or a zero page when data is nil.
func (w *Writer) Page(block int, offset uint64, data []byte) error {
	if block < 0 || block >= len(w.blocks) || offset%PageSize != 0 || offset >= w.blocks[block].Size || (data != nil && len(data) != PageSize) {
		return fmt.Errorf("QEMU stream: page 0x%x of block %d with %d bytes is outside RAM", offset, block, len(data))
	}
	if w.ended {
		return errors.New("QEMU stream: a page after RAM END")
	}
	w.openSection(openPart)
	flags := uint64(flagPage)
	if data == nil {
		flags = flagZero
	}
	if block == w.block {
		flags |= flagContinue
	}
	b := binary.BigEndian.AppendUint64(w.scratch[:0], offset|flags)
	if block != w.block {
		name := w.blocks[block].Name
		b = append(append(b, byte(len(name))), name...)
		w.block = block
	}
	if data == nil {
		b = append(b, 0)
	}
	w.scratch = b
	if _, err := w.out.Write(b); err != nil {
		return err
	}
	_, err := w.out.Write(data)
	return err
}

// End writes RAM END: no pages may follow.
func (w *Writer) End() error {
	if err := w.closeSection(); err != nil {
		return err
	}
	w.openSection(openLast)
	w.ended = true
	return w.closeSection()
}

// Tail writes the device state.
func (w *Writer) Tail(b []byte) error {
	if !w.ended {
		return errors.New("QEMU stream: device state before RAM END")
	}
	_, err := w.out.Write(b)
	return err
}

// Flush hands everything to the destination.
func (w *Writer) Flush() error {
	if err := w.closeSection(); err != nil {
		return err
	}
	return w.out.Flush()
}

func (w *Writer) openSection(kind byte) {
	if w.open {
		return
	}
	w.open = true
	// A failed write is kept by bufio and returned by the next one.
	_ = w.out.WriteByte(kind)
	_, _ = w.out.Write(binary.BigEndian.AppendUint32(nil, w.section))
}

func (w *Writer) closeSection() error {
	if !w.open {
		return nil
	}
	w.open = false
	b := binary.BigEndian.AppendUint64(nil, flagEOS)
	b = append(b, openFooter)
	_, err := w.out.Write(binary.BigEndian.AppendUint32(b, w.section))
	return err
}
