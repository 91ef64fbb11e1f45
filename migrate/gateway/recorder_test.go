package gateway

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/replay"
	"bumpless/migrate/stream"
)

func TestARecordedMoveCanBeReplayed(t *testing.T) {
	b := newBench(t)
	b.src.hot = 40
	b.source.TracePath, b.source.TraceMs = filepath.Join(t.TempDir(), "trace"), 300
	b.begin()
	r := b.result(0)
	if r.Outcome != Moved || r.TotalS < 0.3 {
		t.Fatalf("%s %q after %.2f s; want moved, not before the trace ended", r.Outcome, r.Reason, r.TotalS)
	}
	file, err := os.ReadFile(b.source.TracePath)
	must(t, err)
	trace, err := replay.Decode(file)
	must(t, err)
	last := trace.Passes[len(trace.Passes)-1]
	if trace.Pages != fakePages || len(trace.Passes) < 5 || last.At < 100*time.Millisecond || len(last.Spans) == 0 {
		t.Errorf("%d pages, %d passes, the last at %v with %d spans; want %d pages dirtied to the end", trace.Pages, len(trace.Passes), last.At, len(last.Spans), fakePages)
	}
	if figures, err := replay.Run(trace, "precopy", replay.Defaults()); err != nil || figures.Outcome != replay.Moved {
		t.Errorf("replay: %+v, %v; want moved", figures, err)
	}
}

func TestContentsAreClassed(t *testing.T) {
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	path := filepath.Join(t.TempDir(), "trace")
	r, err := newRecorder(path, 2*time.Second, h, 100)
	must(t, err)
	one, noise := make([]byte, stream.PageSize), make([]byte, stream.PageSize)
	one[0] = 1
	for i, x := 0, uint32(1); i < len(noise); i++ {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	passes := [][]struct {
		at   int
		data []byte
	}{
		{{0, nil}, {1, one}, {2, noise}, {3, noise}},
		{{0, nil}, {1, one}, {2, nil}, {3, one}, {4, one}, {5, one}},
	}
	for i, pages := range passes {
		for _, p := range pages {
			must(t, r.page(p.at, p.data))
		}
		complete, err := r.end(time.Duration(i)*time.Second, time.Duration(i+1)*time.Second)
		if must(t, err); complete != (i == 1) {
			t.Errorf("pass %d: complete = %v", i, complete)
		}
	}
	file, err := os.ReadFile(path)
	must(t, err)
	trace, err := replay.Decode(file)
	must(t, err)
	small, whole := replay.Packed(1), replay.Packed(stream.PageSize)
	want := [][]replay.Span{
		{{First: 1, Count: 1, Class: small}, {First: 2, Count: 2, Class: whole}},
		{{First: 0, Count: 2, Class: replay.Unchanged}, {First: 2, Count: 1, Class: replay.Zero}, {First: 3, Count: 3, Class: small}},
	}
	for i, spans := range want {
		for k, s := range spans {
			if got := trace.Passes[i].Spans; k >= len(got) || got[k] != s {
				t.Errorf("pass %d: %v; want %v", i, got, spans)
				break
			}
		}
	}
}

func TestATraceThatCannotBeWrittenEndsTheMoveBeforeTheStop(t *testing.T) {
	b := newBench(t)
	b.source.TracePath = filepath.Join(t.TempDir(), "none", "trace")
	b.begin()
	r := b.result(0)
	if _, stops := b.src.is(); r.Outcome != Failed || stops != 0 || !strings.Contains(r.Reason, "record the trace") {
		t.Errorf("%s %q after %d stops; want failed because of the trace, no stop", r.Outcome, r.Reason, stops)
	}
	b.guest("src")
}
