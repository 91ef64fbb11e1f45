package link

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// Codec of a frame's body.
type Codec uint8

// Codecs. The number is on the wire.
const (
	Plain Codec = 0
	Zstd  Codec = 1
)

// Compressor compresses bodies. It is not safe for concurrent use.
type Compressor struct {
	packer packer
	out    []byte
}

// NewCompressor returns a compressor that uses no goroutine but the caller's.
func NewCompressor() (*Compressor, error) {
	p, err := newPacker()
	if err != nil {
		return nil, err
	}
	return &Compressor{packer: p}, nil
}

// Compress returns the shorter of body and its compression, and which it is.
// The result is valid until the next call.
func (c *Compressor) Compress(body []byte, e Effort) ([]byte, Codec) {
	if e == None || len(body) == 0 {
		return body, Plain
	}
	out, err := c.packer.pack(c.out[:0], body, e)
	if err != nil {
		return body, Plain // out of memory: it can go as it is
	}
	if c.out = out; len(out) < len(body) {
		return out, Zstd
	}
	return body, Plain
}

// Decompressor undoes a Compressor. It is not safe for concurrent use.
type Decompressor struct {
	decoder *zstd.Decoder
	out     []byte
}

// NewDecompressor returns a decompressor of one goroutine.
func NewDecompressor() (*Decompressor, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxTail), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("make zstd decoder: %w", err)
	}
	return &Decompressor{decoder: d}, nil
}

// Open returns the frame's plain body, valid until the next call.
func (d *Decompressor) Open(f Frame) ([]byte, error) {
	switch f.Codec {
	case Plain:
		return f.Body, nil
	case Zstd:
		out, err := d.inflate(f)
		if err != nil {
			return nil, fmt.Errorf("decompress %s frame: %w", f.Type, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("%s frame has the unknown codec %d", f.Type, f.Codec)
}

// inflate makes room for what the frame says that it holds, if its type may
// hold that much, and for no byte more: neither a long run nor many frames in
// one make it grow.
func (d *Decompressor) inflate(f Frame) ([]byte, error) {
	var head zstd.Header
	if err := head.Decode(f.Body); err != nil {
		return nil, err
	}
	if !head.HasFCS || head.FrameContentSize > uint64(bound(f.Type)) {
		return nil, fmt.Errorf("%d bytes (said: %v), at most %d are allowed: %w", head.FrameContentSize, head.HasFCS, bound(f.Type), ErrTooLong)
	}
	n := int(head.FrameContentSize)
	if cap(d.out) < n {
		d.out = make([]byte, 0, n)
	}
	return d.decoder.DecodeAll(f.Body, d.out[:0:n])
}
