package replay

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// A trace file, all numbers after the version as unsigned LEB128 varints in
// their shortest form:
//
//	"BTRC" | u8 version | pages | passes | passes times:
//	    µs since the pass before | spans | spans times:
//	        pages skipped since the end of the span before | count | u8 class
//
// Every span takes 3 bytes or more, so that what is allocated is bounded by the
// length of the file: 4 times as much, and 1.2 MB for the passes.
const (
	magic   = "BTRC"
	version = 1
	minSpan = 3 // bytes
	minPass = 2
)

// MaxFile bounds a trace file, in bytes.
const MaxFile = 64 << 20

// ErrTruncated: the file ends before the trace does.
var ErrTruncated = errors.New("truncated")

// Encode writes a trace that passes Check.
func (t Trace) Encode() ([]byte, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	b := append([]byte(magic), version)
	b = binary.AppendUvarint(b, uint64(t.Pages))
	b = binary.AppendUvarint(b, uint64(len(t.Passes)))
	var last time.Duration
	for _, p := range t.Passes {
		b = binary.AppendUvarint(b, uint64((p.At-last)/time.Microsecond))
		b = binary.AppendUvarint(b, uint64(len(p.Spans)))
		last = p.At
		var next uint32
		for _, r := range p.Spans {
			b = binary.AppendUvarint(b, uint64(r.First-next))
			b = binary.AppendUvarint(b, uint64(r.Count))
			b = append(b, byte(r.Class))
			next = r.First + r.Count
		}
	}
	if len(b) > MaxFile {
		return nil, fmt.Errorf("trace: %d bytes, at most %d are allowed", len(b), MaxFile)
	}
	return b, nil
}

// Decode reads a trace file. Errors name the offset.
func Decode(file []byte) (Trace, error) {
	if len(file) > MaxFile {
		return Trace{}, fmt.Errorf("trace: %d bytes, at most %d are allowed", len(file), MaxFile)
	}
	d := decoder{b: file}
	t := d.trace()
	if d.err == nil && d.at != len(file) {
		d.fail("%d bytes are left behind the trace", len(file)-d.at)
	}
	if d.err != nil {
		return Trace{}, fmt.Errorf("trace: offset %d: %w", d.at, d.err)
	}
	return t, t.Check()
}

// decoder keeps its first error; after it everything is zero.
type decoder struct {
	b   []byte
	at  int
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

func (d *decoder) trace() (t Trace) {
	if len(d.b) < len(magic)+1 || string(d.b[:len(magic)]) != magic {
		d.fail("not a trace: it does not begin with %q", magic)
		return t
	}
	d.at = len(magic)
	if v := d.byte(); v != version {
		d.fail("version %d, this release reads %d", v, version)
	}
	t.Pages = uint32(d.number("pages", MaxPages))
	passes := d.count("passes", MaxPasses, minPass)
	if d.err == nil {
		t.Passes = make([]Pass, 0, passes)
	}
	var at time.Duration
	for range passes {
		at += time.Duration(d.number("time", uint64(maxPassAt/time.Microsecond))) * time.Microsecond
		t.Passes = append(t.Passes, Pass{At: at, Spans: d.spans(t.Pages)})
		if d.err != nil {
			return t
		}
	}
	return t
}

func (d *decoder) spans(pages uint32) []Span {
	n := d.count("spans", uint64(pages), minSpan)
	if n == 0 || d.err != nil {
		return nil
	}
	spans := make([]Span, 0, n)
	next := uint64(0)
	for range n {
		skipped, count := d.number("pages skipped", uint64(pages)), d.number("count", uint64(pages))
		class := Class(d.byte())
		if next+skipped+count > uint64(pages) {
			d.fail("a span ends at page %d, the guest has %d", next+skipped+count, pages)
		}
		if d.err != nil {
			return nil
		}
		spans = append(spans, Span{uint32(next + skipped), uint32(count), class})
		next += skipped + count
	}
	return spans
}

// count of things that take at least size bytes each.
func (d *decoder) count(what string, most uint64, size int) uint64 {
	n := d.number(what, most)
	if n > uint64(len(d.b)-d.at)/uint64(size) {
		d.fail("%d %s in %d bytes: %w", n, what, len(d.b)-d.at, ErrTruncated)
		return 0
	}
	return n
}

func (d *decoder) number(what string, most uint64) uint64 {
	n, size := binary.Uvarint(d.b[d.at:])
	switch {
	case d.err != nil:
	case size == 0:
		d.fail("%s: %w", what, ErrTruncated)
	case size < 0 || n > most:
		d.fail("%s: more than %d", what, most)
	case size > 1 && d.b[d.at+size-1] == 0:
		d.fail("%s: not the shortest form", what)
	default:
		d.at += size
		return n
	}
	return 0
}

func (d *decoder) byte() byte {
	if d.at >= len(d.b) {
		d.fail("%w", ErrTruncated)
	}
	if d.err != nil {
		return 0
	}
	d.at++
	return d.b[d.at-1]
}
