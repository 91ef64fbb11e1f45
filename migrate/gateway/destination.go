package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/qmp"
	"bumpless/migrate/stream"
)

// destination is the state of one move at its destination.
type destination struct {
	cfg    DestinationConfig
	report func(Event)
	began  time.Time

	qemu    *qmp.Client
	pipe    *net.UnixConn
	meter   link.Meter
	seats   []seat // of the source's connections, by number
	exports exports
	gone    chan struct{} // closed when the move is over
	slots   int           // that are kept of each connection

	sending sync.Mutex // keeps frames to the source whole

	mu       sync.Mutex // guards what the receivers share
	out      *stream.Writer
	hasher   *hasher
	ram      *ram // nil: all pages go through out
	blocks   []stream.Block
	first    []int
	pages    []received
	keepers  []*keeper
	sum      digest
	barriers int           // connections that have reached the barrier
	all      chan struct{} // closed when all have
	started  chan struct{} // closed when the blocks are known

	control chan link.Frame // TAIL, DIGEST, COMMIT, ABORT of connection 0
	failed  chan error
}

const defaultRAMBytes = 64 << 30

// RunDestination takes a guest in. Its QEMU must wait with -S -incoming defer.
// The guest runs here only after COMMIT; with any outcome but Moved the caller
// must kill this QEMU.
func RunDestination(ctx context.Context, cfg DestinationConfig, report func(Event)) (Result, error) {
	if cfg.TimeoutS == 0 {
		cfg.TimeoutS = 660
	}
	if cfg.RAMBytes == 0 {
		cfg.RAMBytes = defaultRAMBytes
	}
	ctx, cancel := limited(ctx, time.Duration(cfg.TimeoutS)*time.Second, "the destination's time of %d s", cfg.TimeoutS)
	defer cancel()
	d := &destination{cfg: cfg, report: report, began: time.Now(), all: make(chan struct{}), started: make(chan struct{}), gone: make(chan struct{}),
		control: make(chan link.Frame, 4), failed: make(chan error, maxConnections+2)}
	defer d.close()
	result := Result{Outcome: Failed}
	err := d.run(ctx)
	cancel() // a receiver that waits for QEMU holds what the rest of this needs
	if err == nil {
		result.Outcome = Moved
	} else {
		result.Reason = err.Error()
		d.tellWhy(err)
	}
	result.TotalS = time.Since(d.began).Seconds()
	result.LinkBytes = d.meter.Sent.Load() + d.meter.Received.Load()
	result.WrittenBytes = d.written()
	return result, nil
}

func (d *destination) phase(p Phase) { d.report(Event{Phase: p, AtMs: ms(time.Since(d.began))}) }

func (d *destination) close() {
	close(d.gone)
	for _, s := range d.seats {
		if s.taken() {
			s.conn.Cut()
		}
	}
	d.exports.cut()
	if d.pipe != nil {
		d.pipe.Close()
	}
	if d.qemu != nil {
		d.qemu.Close()
	}
	d.mu.Lock() // a receiver may still be writing
	defer d.mu.Unlock()
	d.ram.close()
}

// lastWordWait is for the source to read why: the daemon waits for this
// process's end meanwhile.
const lastWordWait = 300 * time.Millisecond

// tellWhy lets the source know, if the link still takes anything.
func (d *destination) tellWhy(err error) {
	if len(d.seats) == 0 || !d.seats[0].taken() {
		return
	}
	text, f := err.Error(), link.Frame{Type: link.Abort}
	f.Body = []byte(text[:min(len(text), 1024)])
	if isLink(err) {
		f.Count = link.LinkBroke
	}
	if d.send(f, lastWordWait) == nil {
		d.seats[0].conn.Linger(lastWordWait)
	}
}

// send writes a frame over connection 0.
func (d *destination) send(f link.Frame, wait time.Duration) error {
	d.sending.Lock()
	defer d.sending.Unlock()
	c := d.seats[0].conn
	if err := c.SetWriteDeadline(time.Now().Add(wait)); err != nil {
		return brokenLink{fmt.Errorf("write %s frame: %w", f.Type, err)}
	}
	if err := link.Write(c, f); err != nil {
		return brokenLink{err}
	}
	return nil
}

func (d *destination) run(ctx context.Context) error {
	var err error
	if d.qemu, err = qmp.Dial(ctx, d.cfg.QMP); err != nil {
		return err
	}
	go d.watchQEMU()
	if err := d.prepareRAM(ctx); err != nil {
		return err
	}
	if err := d.startIncoming(ctx); err != nil {
		return err
	}
	if err := d.startExports(ctx); err != nil {
		return err
	}
	if err := d.accept(ctx); err != nil {
		return err
	}
	d.phase(Streaming)
	for i, s := range d.seats {
		go d.receive(s.reader, i)
	}
	if err := d.load(ctx); err != nil {
		return err
	}
	return d.commit(ctx)
}

func (d *destination) prepareRAM(ctx context.Context) (err error) {
	if d.ram, err = openRAM(d.qemu.PeerPID()); d.ram == nil || err != nil {
		return err
	}
	if err := d.ram.populate(ctx, d.qemu); err != nil {
		return err
	}
	d.ram.mapIfCheap(dearUse)
	return nil
}

// startIncoming makes QEMU wait for a stream on a socketpair. It does not
// announce itself when it has loaded: it does not run yet.
func (d *destination) startIncoming(ctx context.Context) error {
	if err := configureMigration(ctx, d.qemu, map[string]bool{"return-path": true, "events": true}); err != nil {
		return err
	}
	if err := d.qemu.Execute(ctx, "migrate-set-parameters", map[string]any{"announce-rounds": 0}, nil); err != nil {
		return err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	d.pipe = ours
	d.out = stream.NewWriter(ours, streamBuffer)
	// A QEMU that does not read must not keep an abandoned move waiting.
	context.AfterFunc(ctx, func() { _ = ours.SetWriteDeadline(time.Now()) }) // closed is as good
	err = d.qemu.SendFD(ctx, "bumpless", int(theirs.Fd()))
	theirs.Close()
	if err != nil {
		return err
	}
	if err := d.qemu.Execute(ctx, "migrate-incoming", map[string]string{"uri": "fd:bumpless"}, nil); err != nil {
		return err
	}
	// Its messages on the return path say nothing that the monitor does not
	// say; but they must be read.
	go func() { _, _ = io.Copy(io.Discard, ours) }()
	return nil
}

// watchQEMU tells of its end: what is written to its memory needs no QEMU.
func (d *destination) watchQEMU() {
	select {
	case <-d.qemu.Gone():
		d.failed <- errGone
	case <-d.gone:
	}
}

// load hands over the rest and waits until QEMU has loaded the guest; then
// READY is sent.
func (d *destination) load(ctx context.Context) error {
	tail, err := d.next(ctx, link.Tail)
	if err != nil {
		return err
	}
	d.phase(Draining)
	d.pause(ctx, Draining)
	select {
	case <-d.all:
	case err := <-d.failed:
		select {
		case <-d.all: // all had arrived before the link broke; the break will count, as in next
			d.failed <- err
		default:
			return err
		}
	case <-ctx.Done():
		return late("memory was arriving", ctx)
	}
	want, err := d.next(ctx, link.Digest)
	if err != nil {
		return err
	}
	d.mu.Lock()
	have := d.sum.bytes()
	d.mu.Unlock()
	if !bytes.Equal(want.Body, have) {
		return fmt.Errorf("the digests differ: source %x, here %x", want.Body, have)
	}
	d.phase(Loading)
	d.pause(ctx, Loading)
	if err := d.endExports(ctx); err != nil {
		return err
	}
	if err := d.writeEnd(tail.Body); err != nil {
		return fmt.Errorf("hand the device state to QEMU: %w", err)
	}
	if err := d.loaded(ctx); err != nil {
		return err
	}
	d.phase(AtReady)
	d.pause(ctx, AtReady)
	return d.send(link.Frame{Type: link.Ready, Body: have}, writeWait)
}

// pause waits in a phase, for tests.
func (d *destination) pause(ctx context.Context, p Phase) {
	if d.cfg.PauseAt == p {
		pause(ctx, d.cfg.on)
	}
}

func (d *destination) writeEnd(tail []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.out.End(); err != nil {
		return err
	}
	if err := d.out.Tail(tail); err != nil {
		return err
	}
	return d.out.Flush()
}

// next waits for one kind of frame of connection 0.
func (d *destination) next(ctx context.Context, want link.Type) (f link.Frame, err error) {
	select {
	case f = <-d.control:
		return f, d.check(f, want)
	case err := <-d.failed:
		// What came before the connection broke still counts, and so will the
		// break: there is room, since each connection fails once.
		select {
		case f = <-d.control:
			d.failed <- err
			return f, d.check(f, want)
		default:
		}
		return f, err
	case <-ctx.Done():
		return f, late("waiting for "+want.String(), ctx)
	}
}

func (d *destination) check(f link.Frame, want link.Type) error {
	switch f.Type {
	case link.Abort:
		return fmt.Errorf("the source gave up: %s", f.Body)
	case want:
		return nil
	}
	return fmt.Errorf("the source sent %s, not %s", f.Type, want)
}

var errGone = errors.New("the destination's QEMU is gone")

// loaded waits for QEMU's event that the incoming migration has completed.
func (d *destination) loaded(ctx context.Context) error {
	return d.event(ctx, func(e qmp.Event) (bool, error) {
		if e.Name != "MIGRATION" {
			return false, nil
		}
		if bytes.Contains(e.Data, []byte(`"failed"`)) {
			return false, errors.New("QEMU could not load the guest: see its log")
		}
		return bytes.Contains(e.Data, []byte(`"completed"`)), nil
	})
}

func (d *destination) event(ctx context.Context, match func(qmp.Event) (bool, error)) error {
	for {
		select {
		case e, open := <-d.qemu.Events:
			if !open {
				return errGone
			}
			if done, err := match(e); done || err != nil {
				return err
			}
		case f := <-d.control:
			return d.check(f, link.Abort) // nothing else may come before READY
		case err := <-d.failed:
			return err
		case <-ctx.Done():
			return late("QEMU was loading the guest", ctx)
		}
	}
}
