// Package link carries a move between two gateways: versioned frames over
// parallel mutual-TLS connections.
//
// Every frame is an 8-byte header and a body:
//
//	u8 type | u8 codec | u16 count | u32 length of the body     (big-endian)
//
// Connection 0 also carries the control frames, in order. Pages go over any
// connection; each bears a version, and at the receiver the newest version of
// a page wins, whichever way it came. A Barrier is sent over every connection:
// once the receiver has seen it on all, everything sent before has arrived.
//
// A page goes whole, in a run of zeros, as a delta against what its connection has
// carried for it before, or as the same as what that has carried for any page
// (Kind). The last two need memory at both ends; how much is agreed in HELLO, as
// are the kinds that both know: a peer that says nothing there gets none.
package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version of the protocol, apart from the release. A peer with another one is
// refused in Hello.
const Version = 1

// Type of a frame.
type Type uint8

// Frames. S->D from the source, D->S from the destination.
const (
	Hello    Type = iota + 1 // both: JSON, first on each connection
	Config                   // S->D: header and machine of the stream
	Command                  // S->D: a command of the stream
	RAMStart                 // S->D: the blocks
	Pages                    // S->D: a batch of pages
	Barrier                  // S->D: u32 round
	Tail                     // S->D: device state
	Digest                   // S->D: 16 bytes; the source has stopped and sent everything
	Ready                    // D->S: 16 bytes, the destination's digest
	Commit                   // S->D: run it
	Running                  // D->S: it runs
	Abort                    // both: text, why; Count is LinkBroke if it was that
	Ping                     // S->D: u64, echoed
	Pong                     // D->S
)

var names = [...]string{"", "HELLO", "CONFIG", "COMMAND", "RAM-START", "PAGES", "BARRIER", "TAIL", "DIGEST", "READY", "COMMIT", "RUNNING", "ABORT", "PING", "PONG"}

func (t Type) String() string {
	if int(t) < len(names) && t > 0 {
		return names[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// LinkBroke, as the Count of an ABORT: the move ends because a connection broke, which
// another LAN may help. A peer that does not know of it sends 0.
const LinkBroke = 1

const headerSize = 8

// Bounds of a body, in bytes.
const (
	maxControl = 64 << 10
	maxBatch   = 256 << 10 // of pages, compressed or not
	maxTail    = 64 << 20
)

func bound(t Type) int {
	switch t {
	case Pages:
		return maxBatch
	case Tail:
		return maxTail
	}
	return maxControl
}

// Frame is one frame. Body is valid until the next Read on its connection.
type Frame struct {
	Type  Type
	Codec Codec
	Count uint16 // pages of a batch; of an ABORT see LinkBroke
	Body  []byte
}

// ErrTooLong: a frame claims more than its type may have.
var ErrTooLong = errors.New("the frame is too long")

// Writer writes frames. It keeps its buffer: pages leave by the thousand every
// second. It is not safe for concurrent use.
type Writer struct {
	out    io.Writer
	buffer []byte
}

// gatherer is an output that can keep back what it is given and write it at
// once: a Conn, whose TLS makes a record of each 16 KiB.
type gatherer interface {
	gather()
	flush() error
}

// NewWriter writes to out.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// longBody is from where a second write costs less than a copy, in bytes.
const longBody = 8 << 10

// Write writes one frame.
func (w *Writer) Write(f Frame) error {
	if len(f.Body) > bound(f.Type) {
		return fmt.Errorf("write %s frame of %d bytes: %w", f.Type, len(f.Body), ErrTooLong)
	}
	if err := w.write(f); err != nil {
		return fmt.Errorf("write %s frame: %w", f.Type, err)
	}
	return nil
}

func (w *Writer) write(f Frame) error {
	w.buffer = append(w.buffer[:0], make([]byte, headerSize)...)
	putHeader(w.buffer, f)
	if len(f.Body) < longBody {
		w.buffer = append(w.buffer, f.Body...)
		_, err := w.out.Write(w.buffer)
		return err
	}
	g, gathers := w.out.(gatherer)
	if gathers {
		g.gather()
	}
	_, err := w.out.Write(w.buffer)
	if err == nil {
		_, err = w.out.Write(f.Body)
	}
	if gathers {
		err = errors.Join(err, g.flush())
	}
	return err
}

// Write writes one frame to w, for a caller that has few.
func Write(w io.Writer, f Frame) error { return NewWriter(w).Write(f) }

func putHeader(b []byte, f Frame) {
	b[0], b[1] = byte(f.Type), byte(f.Codec)
	binary.BigEndian.PutUint16(b[2:], f.Count)
	binary.BigEndian.PutUint32(b[4:], uint32(len(f.Body)))
}

// Reader reads frames from one connection.
type Reader struct {
	in     io.Reader
	buffer []byte
}

// NewReader reads from in, which should be buffered.
func NewReader(in io.Reader) *Reader { return &Reader{in: in} }

// Read returns the next frame. Memory grows with what has arrived, not with
// what a header claims.
func (r *Reader) Read() (Frame, error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		if err == io.EOF {
			return Frame{}, err
		}
		return Frame{}, fmt.Errorf("read frame header: %w", err)
	}
	f := Frame{Type: Type(head[0]), Codec: Codec(head[1]), Count: binary.BigEndian.Uint16(head[2:])}
	n := int(binary.BigEndian.Uint32(head[4:]))
	if f.Type == 0 || int(f.Type) >= len(names) {
		return Frame{}, fmt.Errorf("read frame: unknown %s", f.Type)
	}
	if n > bound(f.Type) {
		return Frame{}, fmt.Errorf("read %s frame of %d bytes, at most %d are allowed: %w", f.Type, n, bound(f.Type), ErrTooLong)
	}
	body, err := r.body(n)
	if err != nil {
		return Frame{}, fmt.Errorf("read %s frame: %w", f.Type, err)
	}
	f.Body = body
	return f, nil
}

func (r *Reader) body(n int) ([]byte, error) {
	const step = 1 << 20
	for have := 0; have < n; {
		want := min(n, have+step)
		if cap(r.buffer) < want {
			grown := make([]byte, want)
			copy(grown, r.buffer[:have])
			r.buffer = grown
		}
		r.buffer = r.buffer[:cap(r.buffer)]
		if _, err := io.ReadFull(r.in, r.buffer[have:want]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		have = want
	}
	return r.buffer[:n], nil
}
