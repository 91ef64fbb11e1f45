package gateway

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"bumpless/migrate/link"
)

// sender writes to all connections of a move: one goroutine for each takes
// batches from the table. Frames of other kinds go over connection 0.
type sender struct {
	conns  []*outlet
	meter  *link.Meter
	ladder *ladder  // nil: pages go as they are
	kept   []*slots // of each connection, from start on

	shrunk shrinkage
	failed chan error // the first failure
	wait   sync.WaitGroup
}

// outlet is one connection; mu keeps frames whole.
type outlet struct {
	mu   sync.Mutex
	conn link.Conn
	out  *link.Writer
}

func newOutlet(c link.Conn) *outlet { return &outlet{conn: c, out: link.NewWriter(c)} }

func newSender(conns []link.Conn, meter *link.Meter, compress bool) *sender {
	s := &sender{meter: meter, failed: make(chan error, 1)}
	if compress {
		s.ladder = newLadder()
	}
	for _, c := range conns {
		s.conns = append(s.conns, newOutlet(c))
	}
	return s
}

// writeWait bounds the writing of one frame: a link that takes no more than
// 64 KiB in that time is as good as broken.
const writeWait = 20 * time.Second

// control writes one frame over connection 0.
func (s *sender) control(f link.Frame) error { return s.conns[0].write(f, writeWait) }

func (o *outlet) write(f link.Frame, wait time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.conn.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return fmt.Errorf("write %s frame: %w", f.Type, err)
	}
	return o.out.Write(f)
}

// start lets every connection take batches from the table, and keep so many
// contents; the destination knows the kinds of pages up to last.
func (s *sender) start(t *table, slots int, last link.Kind) {
	if s.ladder == nil {
		last = link.Whole // nothing is made shorter: precopy is the baseline
	}
	t.carry(len(s.conns), slots > 0, last)
	for range s.conns {
		s.kept = append(s.kept, newSlots(slots, last >= link.Same))
	}
	for i, o := range s.conns {
		s.wait.Add(1)
		go func() {
			defer s.wait.Done()
			if err := s.run(i, o, t); err != nil {
				s.fail(err)
				t.close()
			}
		}()
	}
}

func (s *sender) fail(err error) {
	select {
	case s.failed <- err:
	default: // the first failure counts
	}
}

func (s *sender) run(connection int, o *outlet, t *table) error {
	compressor, err := link.NewCompressor()
	if err != nil {
		return err
	}
	var b batch
	var body []byte
	for {
		if err := t.probe(connection, s.kept[connection]); err != nil {
			return err
		}
		ok, err := t.take(connection, &b)
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		begun := time.Now()
		if err := s.collect(connection, t, &b); err != nil {
			return err
		}
		content := len(b.at) * link.PageSize
		body = link.AppendPages(body[:0], b.pages)
		f := link.Frame{Type: link.Pages, Count: uint16(len(b.pages)), Body: body}
		var compressing time.Duration
		if s.ladder != nil {
			f.Body, f.Codec, compressing = s.ladder.compress(compressor, body)
		}
		b.behind = o.conn.NotSent() > 0
		err = o.write(f, writeWait)
		b.body, b.packed = len(body), len(f.Body)
		if content > 0 {
			s.shrunk.add(content, len(f.Body))
		}
		if more := t.put(&b); more && s.ladder != nil {
			s.ladder.sent(len(s.conns), len(body), len(f.Body), compressing, time.Since(begun), b.behind)
		}
		if err != nil {
			return brokenLink{err}
		}
	}
}

// collect makes a batch's pages short, and takes more while there is room for it.
func (s *sender) collect(connection int, t *table, b *batch) error {
	for {
		s.kept[connection].rememberAndShorten(b)
		if added, err := t.more(connection, b); !added || err != nil {
			return err
		}
	}
}

// barrier marks on every connection that all of a round has been written.
func (s *sender) barrier(round uint32) error {
	for _, o := range s.conns {
		if err := o.write(link.Frame{Type: link.Barrier, Body: binary.BigEndian.AppendUint32(nil, round)}, writeWait); err != nil {
			return err
		}
	}
	return nil
}

// shrinkage is the ratio of what was written lately to the content that it
// stood for: what is sent again goes as deltas, and shrinks more than what was
// sent first.
type shrinkage struct {
	mu              sync.Mutex
	content, packed float64 // bytes; older ones count less and less
}

// shrinkageMemory is how much content counts, in bytes.
const shrinkageMemory = 8 << 20

func (s *shrinkage) add(content, packed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content += float64(content); s.content > shrinkageMemory {
		s.content, s.packed = s.content/2, s.packed/2
	}
	s.packed += float64(packed)
}

// forget what was sent: what comes from now on is of another kind.
func (s *shrinkage) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content, s.packed = 0, 0
}

func (s *shrinkage) ratio() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content == 0 {
		return 1
	}
	return s.packed / s.content
}

// ratio of what is written to the content that it stands for.
func (s *sender) ratio() float64 { return s.shrunk.ratio() }

// unsent bytes in the kernel, of all connections.
func (s *sender) unsent() (n int64) {
	for _, o := range s.conns {
		n += o.conn.Unsent()
	}
	return n
}

// stalled is the peer's address of a connection that has had more time-outs in a
// row than are allowed; "" when none has.
func (s *sender) stalled(allowed int) string {
	for _, p := range s.paths() {
		if p.unanswered > allowed {
			return p.to.String()
		}
	}
	return ""
}

// roundTrips that a switchover waits for: DIGEST to READY, COMMIT to RUNNING.
const roundTrips = 2

// waits is what the length of the path adds to every switchover.
func (s *sender) waits() (d time.Duration) {
	for _, o := range s.conns[:min(1, len(s.conns))] { // control frames go over connection 0
		d = roundTrips * o.conn.RoundTrip()
	}
	return d
}

// shrink keeps what is written from now on from waiting in the kernel.
func (s *sender) shrink() {
	for _, o := range s.conns {
		_ = o.conn.Shrink() // it costs milliseconds, no more
	}
}

// abort cuts all connections: a writer that is blocked returns at once. TLS is
// not closed in an orderly way, since that would write.
func (s *sender) abort() {
	for _, o := range s.conns {
		o.conn.Cut()
	}
}

// rate estimates what the link takes, by exponential smoothing over windows in
// which it was saturated: an idle link says nothing of its speed.
type rate struct {
	mu       sync.Mutex
	estimate float64 // bytes per second
	last     int64   // bytes on the wire at the start of the window
	at       time.Time
}

// smoothing is the weight of the newest window.
const smoothing = 0.3

// sample closes a window; wire is what has left the host so far.
func (r *rate) sample(now time.Time, wire int64, saturated bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	elapsed := now.Sub(r.at).Seconds()
	measured := float64(wire-r.last) / elapsed
	first := r.at.IsZero()
	r.last, r.at = wire, now
	if first || elapsed <= 0 || measured <= 0 {
		return
	}
	switch {
	case r.estimate == 0:
		r.estimate = measured
	case saturated:
		r.estimate += smoothing * (measured - r.estimate)
	case measured > r.estimate:
		r.estimate = measured // it took more than was thought, without effort
	}
}

func (r *rate) bytesPerS() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.estimate
}
