package protection

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
)

// Device is a disk. Reads and writes are of whole blocks from an aligned buffer.
type Device interface {
	io.ReaderAt
	io.WriterAt
	// Sync returns when everything that was written has reached the medium.
	Sync() error
}

// Blocks is a disk whose every block proves itself, as Pages is memory: it
// bears its place, a sequence number and a checksum, and the sequence number
// that it should have is kept in memory. A write that was flushed and is not
// there later is found, and so is an older version that came back.
type Blocks struct {
	device   Device
	buffer   []byte   // of several blocks
	expected []uint64 // sequence of each block
}

// BlockSize in bytes.
const BlockSize = PageSize

// diskPlace tells a block's place from every page's.
const diskPlace = 1 << 63

// NewBlocks takes n blocks of a device. The buffer is aligned as the device
// wants it, and a multiple of BlockSize.
func NewBlocks(device Device, buffer []byte, n int) *Blocks {
	return &Blocks{device: device, buffer: buffer, expected: make([]uint64, n)}
}

// Len is the number of blocks.
func (b *Blocks) Len() int { return len(b.expected) }

// Begin takes over what is on the disk: a blank block is written once, one that
// an earlier boot wrote must prove itself. It returns how many were written and
// how many were neither.
func (b *Blocks) Begin() (written, corrupt int, err error) {
	blank := make([]byte, BlockSize)
	var fresh []int
	err = b.each(func(i int, block []byte) {
		sequence := binary.LittleEndian.Uint64(block[8:])
		switch {
		case bytes.Equal(block, blank):
			fresh = append(fresh, i)
		case proves(block, diskPlace|uint64(i), sequence):
			b.expected[i] = sequence
		default:
			corrupt++
			fresh = append(fresh, i) // so that it is told once
		}
	})
	for _, i := range fresh {
		if err == nil {
			err = b.put(i)
		}
	}
	if err == nil {
		err = b.sync()
	}
	return len(fresh), corrupt, err
}

// each reads every block.
func (b *Blocks) each(look func(i int, block []byte)) error {
	for i := 0; i < b.Len(); {
		n, err := b.read(i)
		if err != nil {
			return err
		}
		for at := range n {
			look(i+at, b.buffer[at*BlockSize:(at+1)*BlockSize])
		}
		i += n
	}
	return nil
}

// read fills the buffer with as many blocks as it holds, from block i on.
func (b *Blocks) read(i int) (n int, err error) {
	n = min(len(b.buffer)/BlockSize, b.Len()-i)
	if _, err := b.device.ReadAt(b.buffer[:n*BlockSize], int64(i)*BlockSize); err != nil {
		return 0, fmt.Errorf("read %d blocks from block %d on: %w", n, i, err)
	}
	return n, nil
}

// put writes block i with its next sequence number, and does not flush.
func (b *Blocks) put(i int) error {
	block := b.buffer[:BlockSize]
	stamp(block, diskPlace|uint64(i), b.expected[i]+1, BlockSize)
	if _, err := b.device.WriteAt(block, int64(i)*BlockSize); err != nil {
		return fmt.Errorf("write block %d: %w", i, err)
	}
	b.expected[i]++
	return nil
}

func (b *Blocks) sync() error {
	if err := b.device.Sync(); err != nil {
		return fmt.Errorf("flush the disk: %w", err)
	}
	return nil
}

// Write gives block i its next sequence number, writes it and flushes it.
func (b *Blocks) Write(i int) error {
	if err := b.put(i); err != nil {
		return err
	}
	return b.sync()
}

// Verify reads blocks from block i on and tells how many, and how many of them
// are not what was last written.
func (b *Blocks) Verify(i int) (n, corrupt int, err error) {
	if n, err = b.read(i); err != nil {
		return 0, 0, err
	}
	for at := range n {
		if !proves(b.buffer[at*BlockSize:(at+1)*BlockSize], diskPlace|uint64(i+at), b.expected[i+at]) {
			corrupt++
		}
	}
	return n, corrupt, nil
}
