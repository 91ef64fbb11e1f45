package replay

import "time"

// What the link's format adds: to each batch a frame's head and a TLS record,
// to each page its head.
const (
	batchPages = 16
	frameBytes = 64
	headBytes  = 10
)

// wire is the link: one batch at a time.
type wire struct {
	bytesPerS int64
	compress  bool
	free      time.Duration // when the batch that is being written is through
	sent      int64         // bytes
	raw       int64         // content that sent stands for, frames of zeros not counted
	packed    int64         // what was written of it
}

// batch to write: contents, and pages of zeros that go with them.
type batch struct {
	pages  int64
	raw    int64
	packed int64
}

func (b *batch) add(c content) {
	b.pages++
	if c.number != 0 {
		b.raw += PageSize
		b.packed += int64(c.packed)
	}
}

func (w *wire) write(b batch) {
	body := b.raw
	if w.compress {
		body = b.packed
	}
	w.put(frameBytes + headBytes*b.pages + body)
	w.raw += b.raw
	w.packed += body
}

func (w *wire) put(bytes int64) {
	w.sent += bytes
	w.free += w.takes(bytes)
}

func (w *wire) takes(bytes int64) time.Duration {
	return time.Duration(bytes * int64(time.Second) / w.bytesPerS)
}

// ratio of what was written to the content it stood for.
func (w *wire) ratio() float64 {
	if w.raw == 0 {
		return 1
	}
	return float64(w.packed) / float64(w.raw)
}

// rate as it would be measured: known after 100 ms.
func (w *wire) rate(now time.Duration) float64 {
	if now < 100*time.Millisecond {
		return 0
	}
	return float64(w.bytesPerS)
}

// inFlight is what is left of the batch that is being written, in bytes.
func (w *wire) inFlight(now time.Duration) int64 {
	return max(0, int64(w.free-now)) * w.bytesPerS / int64(time.Second)
}
