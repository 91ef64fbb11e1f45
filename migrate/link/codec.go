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
	encoder *zstd.Encoder
	out     []byte
}

// NewCompressor returns a compressor of one goroutine: a move must not steal
// the cores of other guests. A single segment: only so does a small body say how
// long it is, which the peer insists on.
func NewCompressor() (*Compressor, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxBatch), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make zstd encoder: %w", err)
	}
	return &Compressor{encoder: e}, nil
}

// Compress returns the shorter of body and its compression, and which it is.
// The result is valid until the next call.
func (c *Compressor) Compress(body []byte) ([]byte, Codec) {
	c.out = c.encoder.EncodeAll(body, c.out[:0])
	if len(c.out) < len(body) {
		return c.out, Zstd
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
