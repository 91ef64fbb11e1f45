package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
)

func frameBytes(kind, codec byte, count uint16, length uint32, body ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind, codec}, count)
	return append(binary.BigEndian.AppendUint32(b, length), body...)
}

func TestFramesRoundTrip(t *testing.T) {
	for _, f := range []Frame{
		{Type: Hello, Body: []byte(`{"version":1}`)}, {Type: Commit, Body: []byte{}}, {Type: Pages, Codec: Zstd, Count: 16, Body: make([]byte, maxBatch)},
		{Type: Tail, Body: make([]byte, 5<<20)}, {Type: Pong, Body: make([]byte, 8)},
	} {
		var b bytes.Buffer
		if err := Write(&b, f); err != nil {
			t.Fatal(err)
		}
		got, err := NewReader(iotest.HalfReader(&b)).Read()
		if err != nil || got.Type != f.Type || got.Codec != f.Codec || got.Count != f.Count || !bytes.Equal(got.Body, f.Body) {
			t.Errorf("Read() = %s %d %d, %d bytes, %v; want %s %d %d, %d bytes", got.Type, got.Codec, got.Count, len(got.Body), err, f.Type, f.Codec, f.Count, len(f.Body))
		}
	}
}

func TestAFrameOnTheWire(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, Frame{Type: Barrier, Body: []byte{0, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if want := frameBytes(6, 0, 0, 4, 0, 0, 0, 1); !bytes.Equal(b.Bytes(), want) {
		t.Errorf("Write(BARRIER 1) = %x; want %x", b.Bytes(), want)
	}
}

func TestFramesAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		in  []byte
		err error
	}{
		"nothing":             {nil, io.EOF},
		"half a header":       {[]byte{1, 0, 0}, io.ErrUnexpectedEOF},
		"type 0":              {frameBytes(0, 0, 0, 0), nil},
		"a type of later":     {frameBytes(15, 0, 0, 0), nil},
		"truncated body":      {frameBytes(byte(Hello), 0, 0, 4, 1), io.ErrUnexpectedEOF},
		"body missing":        {frameBytes(byte(Hello), 0, 0, 4), io.ErrUnexpectedEOF},
		"control of 64 KiB+1": {frameBytes(byte(Hello), 0, 0, maxControl+1), ErrTooLong},
		"batch of 256 KiB+1":  {frameBytes(byte(Pages), 0, 1, maxBatch+1), ErrTooLong},
		"tail of 64 MiB+1":    {frameBytes(byte(Tail), 0, 0, maxTail+1), ErrTooLong},
		"4 GiB":               {frameBytes(byte(Tail), 0, 0, 1<<32-1), ErrTooLong},
	} {
		f, err := NewReader(bytes.NewReader(c.in)).Read()
		if err == nil || (c.err != nil && !errors.Is(err, c.err)) {
			t.Errorf("%s: Read() = %v, %v; want error %v", name, f, err, c.err)
		}
	}
	if err := Write(io.Discard, Frame{Type: Abort, Body: make([]byte, maxControl+1)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("Write() of too much = %v; want ErrTooLong", err)
	}
}

func TestAClaimedLengthCostsNoMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := NewReader(bytes.NewReader(frameBytes(byte(Tail), 0, 0, maxTail, 1))).Read()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; err == nil || n > 2<<20 {
		t.Errorf("a claim of 64 MiB with one byte: %v, %d bytes allocated; want an error and at most 2 MiB", err, n)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add(frameBytes(byte(Hello), 0, 0, 2, '{', '}'))
	f.Add(frameBytes(byte(Tail), 1, 0, maxTail, 1, 2, 3))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in))
		d, err := NewDecompressor()
		if err != nil {
			t.Fatal(err)
		}
		for {
			frame, err := r.Read()
			if err != nil {
				return
			}
			if len(frame.Body) > len(in) {
				t.Fatalf("a body of %d bytes out of %d", len(frame.Body), len(in))
			}
			if body, err := d.Open(frame); err == nil && len(body) > bound(frame.Type) {
				t.Fatalf("%s frame opens to %d bytes", frame.Type, len(body))
			}
		}
	})
}

func TestAWriterNeedsNoMemoryForTheNextFrame(t *testing.T) {
	w := NewWriter(io.Discard)
	f := Frame{Type: Pages, Count: 16, Body: make([]byte, 64<<10)}
	if n := testing.AllocsPerRun(100, func() {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Write() allocates %.0f times; want 0", n)
	}
}

func BenchmarkWriteABatch(b *testing.B) {
	f := Frame{Type: Pages, Count: 16, Body: make([]byte, 64<<10)}
	b.SetBytes(64 << 10)
	b.Run("with a buffer", func(b *testing.B) {
		w := NewWriter(io.Discard)
		for b.Loop() {
			_ = w.Write(f) // to nowhere
		}
	})
	b.Run("without", func(b *testing.B) {
		for b.Loop() {
			_ = Write(io.Discard, f) // to nowhere
		}
	})
}
