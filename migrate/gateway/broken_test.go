package gateway

import (
	"context"
	"errors"
	"testing"
	"time"

	"bumpless/migrate/link"
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
