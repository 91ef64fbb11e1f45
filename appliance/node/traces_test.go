package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/appliance/api"
)

func TestAGuestIsTracedOnceAtATimeAndNotWhileItMoves(t *testing.T) {
	var all traces
	code := func() string {
		_, _, err := all.begin(context.Background(), "main1")
		var r *api.Refusal
		if errors.As(err, &r) {
			return r.Code
		}
		return ""
	}
	if got := code(); got != "" {
		t.Fatalf("the first trace is refused: %s", got)
	}
	if got := code(); got != "busy" {
		t.Errorf("a second trace = %q; want busy", got)
	}
	if _, _, err := all.begin(context.Background(), "main2"); err != nil {
		t.Errorf("a trace of another guest = %v", err)
	}
	all.gone("main1")
	all.yield("main1")
	if got := code(); got != "moving" {
		t.Errorf("a trace during a move = %q; want moving", got)
	}
	all.moved("main1")
	if got := code(); got != "" {
		t.Errorf("a trace after a move = %q; want none refused", got)
	}
}

func TestAMoveEndsATraceAndWaitsUntilItHasLetGo(t *testing.T) {
	var all traces
	ctx, _, err := all.begin(context.Background(), "main1")
	if err != nil {
		t.Fatal(err)
	}
	yielded := make(chan struct{})
	go func() { defer close(yielded); all.yield("main1") }()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, errMoveBegins) {
		t.Errorf("the trace ends with %v; want %v", cause, errMoveBegins)
	}
	select {
	case <-yielded:
		t.Error("yield() returned although the trace's gateway lives")
	case <-time.After(20 * time.Millisecond):
	}
	all.gone("main1")
	select {
	case <-yielded:
	case <-time.After(patience):
		t.Error("yield() does not return although the trace's gateway is gone")
	}
}

func TestAFileIsSentInChunksAndTheLastOneIsFinal(t *testing.T) {
	for _, size := range []int{0, 1, chunkBytes, chunkBytes + 1, 2*chunkBytes + 7} {
		path := filepath.Join(t.TempDir(), "trace")
		if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		sent, finals := 0, 0
		err := sendFile(path, func(l api.TraceLine) {
			if sent += len(l.Chunk); l.Final {
				finals++
			}
		})
		if err != nil || sent != size || finals != 1 {
			t.Errorf("%d bytes: %d sent, %d final lines, %v; want all of them, and 1", size, sent, finals, err)
		}
	}
}
