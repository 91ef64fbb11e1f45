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
// the cores of other guests.
func NewCompressor() (*Compressor, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxBatch), zstd.WithEncoderCRC(false))
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

// NewDecompressor bounds its memory by the largest body.
func NewDecompressor() (*Decompressor, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxTail), zstd.WithDecoderLowmem(true))
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
		out, err := d.decoder.DecodeAll(f.Body, d.out[:0])
		if err != nil {
			return nil, fmt.Errorf("decompress %s frame: %w", f.Type, err)
		}
		if len(out) > bound(f.Type) {
			return nil, fmt.Errorf("decompress %s frame: %w", f.Type, ErrTooLong)
		}
		d.out = out
		return out, nil
	}
	return nil, fmt.Errorf("%s frame has the unknown codec %d", f.Type, f.Codec)
}
