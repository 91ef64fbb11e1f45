package replay

import (
	"time"

	"bumpless/migrate/pages"
)

// What the link's format adds: to each batch a frame's head and a TLS record,
// to each page its head.
const (
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
	pages  int
	at     []int // of each content
	packed int64 // what they are compressed to
	share  uint8 // that each took on the link, in sixteenths of a page: known when it has been written
}

func (b *batch) add(out pages.Out, c content) {
	b.pages++
	if out.Content {
		b.at = append(b.at, out.At)
		b.packed += int64(c.packed)
	}
}

func (w *wire) write(b *batch) {
	raw := int64(len(b.at)) * PageSize
	body := headBytes * int64(b.pages)
	if w.compress {
		body += b.packed
	} else {
		body += raw
	}
	w.put(frameBytes + body)
	w.raw += raw
	w.packed += body
	if raw > 0 {
		b.share = uint8(max(1, (body*pages.Sixteenths+raw-1)/raw))
	}
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
