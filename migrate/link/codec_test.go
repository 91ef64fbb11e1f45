package link

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func newCodec(t *testing.T) (*Compressor, *Decompressor) {
	t.Helper()
	c, err := NewCompressor()
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDecompressor()
	if err != nil {
		t.Fatal(err)
	}
	return c, d
}

func TestWhatIsCompressedOpensAgain(t *testing.T) {
	c, d := newCodec(t)
	noise := make([]byte, 1<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise) // never fails
	for _, n := range []int{0, 1, 100, 255, 256, 4096, 64 << 10, maxBatch, 1 << 20} {
		for name, body := range map[string][]byte{"text": bytes.Repeat([]byte("abc"), n/3), "noise": noise[:n], "zeros": make([]byte, n)} {
			kind := Pages
			if n > maxBatch {
				kind = Tail
			}
			effort := Effort(n % int(None+1))
			packed, codec := c.Compress(body, effort)
			if len(packed) > len(body) {
				t.Errorf("%d bytes of %s grew to %d", n, name, len(packed))
			}
			if name == "noise" && codec != Plain && n > 0 {
				t.Errorf("%d bytes of noise were compressed; want them plain", n)
			}
			got, err := d.Open(Frame{Type: kind, Codec: codec, Body: packed})
			if err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes of %s: Open() = %d bytes, %v", n, name, len(got), err)
			}
		}
	}
}

func zstdOf(t *testing.T, stream bool, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	e, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	if !stream {
		return e.EncodeAll(body, nil)
	}
	if _, err := e.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDecompressionBombsAreRefused(t *testing.T) {
	bomb := zstdOf(t, false, make([]byte, 512<<20))
	small := zstdOf(t, false, make([]byte, maxBatch))
	for _, c := range []struct {
		name string
		kind Type
		body []byte
	}{
		{"512 MiB as device state", Tail, bomb},
		{"more than a batch as pages", Pages, zstdOf(t, false, make([]byte, maxBatch+1))},
		{"a control frame of a batch's size", Config, small},
		{"a frame that hides its size", Pages, zstdOf(t, true, make([]byte, 8<<20))},
		{"many frames in one", Pages, bytes.Repeat(small, maxBatch/len(small))},
	} {
		_, d := newCodec(t)
		if len(c.body) > bound(c.kind) {
			t.Fatalf("%s: the bomb of %d bytes does not fit its frame", c.name, len(c.body))
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		out, err := d.Open(Frame{Type: c.kind, Codec: Zstd, Body: c.body})
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: Open() = %d bytes; want an error", c.name, len(out))
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
			t.Errorf("%s: %d bytes were allocated; want at most 8 MiB", c.name, n)
		}
	}
}

func TestUnknownCodecsAndDamageAreRefused(t *testing.T) {
	_, d := newCodec(t)
	if _, err := d.Open(Frame{Type: Tail, Codec: 9}); err == nil {
		t.Error("Open() of codec 9 = nil; want an error")
	}
	good := zstdOf(t, false, bytes.Repeat([]byte("abcd"), 1000))
	if _, err := d.Open(Frame{Type: Tail, Codec: Zstd, Body: good[:len(good)-6]}); err == nil {
		t.Error("Open() of a truncated body = nil; want an error")
	}
	if _, err := d.Open(Frame{Type: Tail, Codec: Zstd}); err == nil || errors.Is(err, ErrTooLong) {
		t.Errorf("Open() of nothing = %v; want an error", err)
	}
	if got, err := d.Open(Frame{Type: Tail, Codec: Zstd, Body: good}); err != nil || len(got) != 4000 {
		t.Errorf("Open() after damaged frames = %d bytes, %v; want 4000", len(got), err)
	}
}
