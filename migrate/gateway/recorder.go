package gateway

import (
	"errors"
	"fmt"
	"os"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/replay"
)

// recorder notes what the guest dirties, as a trace for package replay. Each
// page is compressed by itself, which costs a core 20 µs and says a little less
// than a batch would: it is for measurements, not for moves in service.
type recorder struct {
	path       string
	until      time.Duration // since the move began
	hasher     *hasher
	compressor *link.Compressor
	tags       []tag // of each page's newest content
	trace      replay.Trace
	pass       replay.Pass
	spans      int
}

// maxTraceSpans bounds what is kept of a trace: 48 MB.
const maxTraceSpans = 4 << 20

var errLongTrace = errors.New("record the trace: the guest dirties too much for a trace of that length")

func newRecorder(path string, length time.Duration, h *hasher, pages int) (*recorder, error) {
	if pages > replay.MaxPages {
		return nil, fmt.Errorf("record the trace: a guest of %d pages, at most %d can be recorded", pages, replay.MaxPages)
	}
	c, err := link.NewCompressor()
	if err != nil {
		return nil, err
	}
	return &recorder{path: path, until: length, hasher: h, compressor: c, tags: make([]tag, pages), trace: replay.Trace{Pages: uint32(pages)}}, nil
}

// page at its place among all of the guest's; nil is a page of zeros.
func (r *recorder) page(at int, data []byte) error {
	is := r.hasher.page(0, uint64(at), data)
	was := r.tags[at]
	r.tags[at] = is
	class := replay.Zero
	switch {
	case len(r.trace.Passes) > 0 && is == was:
		class = replay.Unchanged
	case data != nil:
		packed, _ := r.compressor.Compress(data)
		class = replay.Packed(len(packed))
	case len(r.trace.Passes) == 0:
		return nil // the bulk has what is not zero
	}
	before := len(r.pass.Spans)
	r.pass.Add(uint32(at), class)
	if r.spans += len(r.pass.Spans) - before; r.spans > maxTraceSpans {
		return errLongTrace
	}
	return nil
}

// end closes a pass that brought what had been dirtied until found. It tells
// whether the trace is complete; it has been written then.
func (r *recorder) end(found, now time.Duration) (complete bool, err error) {
	r.pass.At = found.Truncate(time.Microsecond)
	r.trace.Passes = append(r.trace.Passes, r.pass)
	r.pass = replay.Pass{}
	if now < r.until && len(r.trace.Passes) < replay.MaxPasses {
		return false, nil
	}
	file, err := r.trace.Encode()
	if err == nil {
		err = os.WriteFile(r.path, file, 0o600)
	}
	if err != nil {
		return false, fmt.Errorf("record the trace: %w", err)
	}
	return true, nil
}
