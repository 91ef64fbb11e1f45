package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/qmp"
	"bumpless/migrate/stream"
)

// A source that rolls back cuts its connections right behind what it sent. What
// it sent counts, and so does the cut: a destination that forgot it waited for
// COMMIT until the move's time was over.
func TestACutBehindTheLastFrameIsNotForgotten(t *testing.T) {
	for range 100 { // a select of two that are ready picks either
		d := &destination{control: make(chan link.Frame, 4), failed: make(chan error, maxConnections+1)}
		cut := errors.New("cut")
		d.control <- link.Frame{Type: link.Tail}
		d.control <- link.Frame{Type: link.Digest}
		d.failed <- cut
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		for _, want := range []link.Type{link.Tail, link.Digest} {
			if _, err := d.next(ctx, want); err != nil {
				t.Fatalf("next(%s) = %v; want the frame", want, err)
			}
		}
		if _, err := d.next(ctx, link.Commit); !errors.Is(err, cut) {
			t.Fatalf("next(COMMIT) = %v; want %v", err, cut)
		}
		cancel()
	}
}

// The same where it is seen while the destination looks whether all has arrived.
func TestACutBehindTheLastBarrierIsNotForgotten(t *testing.T) {
	c, peer, raw := linked(t)
	defer raw.Close()
	go func() { _, _ = io.Copy(io.Discard, peer) }() // it ends with the connection
	for range 20 {                                   // a select of two that are ready picks either
		cut := errors.New("cut")
		d := &destination{report: func(Event) {}, control: make(chan link.Frame, 4), failed: make(chan error, maxConnections+2), all: make(chan struct{}),
			seats: []seat{{conn: c}}, out: stream.NewWriter(io.Discard, 4096), qemu: &qmp.Client{Events: make(chan qmp.Event, 1)}}
		d.control <- link.Frame{Type: link.Tail}
		d.control <- link.Frame{Type: link.Digest, Body: d.sum.bytes()}
		close(d.all)
		d.failed <- cut
		d.qemu.Events <- qmp.Event{Name: "MIGRATION", Data: json.RawMessage(`{"status": "completed"}`)}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := d.load(ctx)
		if err == nil {
			err = d.awaitCommit(ctx)
		}
		if cancel(); !errors.Is(err, cut) {
			t.Fatalf("the destination waits for COMMIT, and ends because of %v; want %v", err, cut)
		}
	}
}
