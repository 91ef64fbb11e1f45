package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bumpless/appliance/api"
	"bumpless/migrate/gateway"
	"bumpless/migrate/gateway/child"
)

// traces are the recordings of this host's guests. A guest is recorded through
// the same monitor as it is moved, and QEMU has one migration at a time: a move
// ends a recording before it begins, and none begins during a move.
type traces struct {
	mu     sync.Mutex
	live   map[string]*recording // by guest
	moving map[string]bool       // guests that a gateway of this host moves away
}

type recording struct {
	cancel context.CancelCauseFunc
	done   chan struct{} // its gateway is gone
}

var (
	errMoveBegins = errors.New("a move of the guest begins")
	errDaemonEnds = errors.New("the daemon ends")
)

// begin takes the guest for a recording, until gone.
func (t *traces) begin(ctx context.Context, guest string) (context.Context, *recording, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.moving[guest]:
		return nil, nil, &api.Refusal{Code: "moving", Text: fmt.Sprintf("guest %s is being moved: trace it afterwards", guest)}
	case t.live[guest] != nil:
		return nil, nil, &api.Refusal{Code: "busy", Text: fmt.Sprintf("guest %s is being traced already", guest)}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := &recording{cancel: cancel, done: make(chan struct{})}
	if t.live == nil {
		t.live = map[string]*recording{}
	}
	t.live[guest] = r
	return ctx, r, nil
}

// gone: the recording has let go of the guest's monitor.
func (t *traces) gone(guest string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.live[guest]; r != nil {
		delete(t.live, guest)
		close(r.done)
	}
}

// yield takes the guest for a move, and returns when no recording has its
// monitor.
func (t *traces) yield(guest string) {
	t.mu.Lock()
	if t.moving == nil {
		t.moving = map[string]bool{}
	}
	t.moving[guest] = true
	r := t.live[guest]
	t.mu.Unlock()
	if r != nil {
		r.cancel(errMoveBegins)
		<-r.done
	}
}

// moved: the move's gateway has ended.
func (t *traces) moved(guest string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.moving, guest)
}

// Trace implements api.Backend.
func (n *Node) Trace(ctx context.Context, by api.Caller, r api.TraceRequest, tell func(api.TraceLine)) error {
	epoch, err := n.traceable(ctx, r)
	if err != nil {
		return err
	}
	dir, err := n.traceDir(r.Guest)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, rec, err := n.traces.begin(ctx, r.Guest)
	if err != nil {
		return err
	}
	defer rec.cancel(nil)
	n.log.Info("trace", "guest", r.Guest, "seconds", r.Seconds, "by", by.Name, "role", by.Role)
	path := filepath.Join(dir, "trace")
	cfg := gateway.TraceConfig{Guest: r.Guest, QMP: n.hypervisor.MoveSocket(r.Guest, epoch), Path: path, Ms: 1000 * r.Seconds, RAMBytes: n.ramBytes(r.Guest)}
	lines, g, err := n.startTrace(ctx, rec, dir, cfg)
	if err != nil {
		return err
	}
	for e := range lines {
		tell(traceLine(e))
	}
	switch {
	case g.Result == nil:
		return fmt.Errorf("trace guest %s: its gateway ended without a word", r.Guest)
	case g.Result.Outcome != gateway.Recorded:
		return fmt.Errorf("trace guest %s: %s", r.Guest, g.Result.Reason)
	}
	return sendFile(path, tell)
}

// traceable refuses what this host cannot record, and says which copy it is.
func (n *Node) traceable(ctx context.Context, r api.TraceRequest) (epoch uint64, err error) {
	state := n.newest(ctx)
	g, known := state.Guests[r.Guest]
	refuse := func(code, format string, args ...any) (uint64, error) {
		return 0, &api.Refusal{Code: code, Text: fmt.Sprintf(format, args...)}
	}
	if !known {
		return refuse("unknown", "no guest %q: see `bumpless guests`", r.Guest)
	}
	if r.Seconds < 1 || r.Seconds > api.MaxTraceSeconds {
		return refuse("malformed", "%d seconds, want 1 to %d", r.Seconds, api.MaxTraceSeconds)
	}
	if m, moving := state.Moves[r.Guest]; moving {
		return refuse("moving", "guest %s is being moved from %s to %s: trace it afterwards", r.Guest, m.From, m.To)
	}
	if g.Owner != n.self.Name {
		if g.Owner == "" {
			return refuse("not-running", "guest %s does not run: see `bumpless explain %s`", r.Guest, r.Guest)
		}
		return refuse("elsewhere", "guest %s runs on %s: ask that host, there or with --host %s", r.Guest, g.Owner, g.Owner)
	}
	copies, err := n.hypervisor.Find()
	if err != nil {
		return 0, err
	}
	for _, c := range copies {
		if c.Guest == r.Guest && !c.Incoming {
			return c.Epoch, nil
		}
	}
	return refuse("not-running", "guest %s has no running copy here", r.Guest)
}

func (n *Node) traceDir(guest string) (string, error) {
	parent := filepath.Join(n.site.RunDir, "traces")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", fmt.Errorf("trace guest %s: %w", guest, err)
	}
	return os.MkdirTemp(parent, guest+"-")
}

// traceGrace is for a recording to let go of QEMU.
const traceGrace = 10 * time.Second

// startTrace runs the gateway. When ctx or the daemon ends it is told to let go,
// whether or not somebody reads the lines, which end when it is gone and has its result.
func (n *Node) startTrace(ctx context.Context, rec *recording, dir string, cfg gateway.TraceConfig) (<-chan gateway.Event, *child.Gateway, error) {
	lines := make(chan gateway.Event, 64)
	g, err := child.Start(n.binary, "trace", dir, nil)
	if err != nil {
		n.traces.gone(cfg.Guest)
		return nil, nil, err
	}
	err = g.Begin(cfg, func(e gateway.Event) {
		if e.Result != nil {
			return
		}
		select {
		case lines <- e:
		default: // a slow reader misses a line of progress
		}
	})
	if err != nil {
		n.traces.gone(cfg.Guest)
		return nil, nil, err
	}
	daemon := context.AfterFunc(n.ctx, func() { rec.cancel(errDaemonEnds) })
	context.AfterFunc(ctx, func() {
		within, cancel := context.WithTimeout(context.Background(), traceGrace)
		defer cancel()
		g.Abort(within, traceGrace, context.Cause(ctx).Error())
	})
	go func() {
		<-g.Done
		daemon()
		n.traces.gone(cfg.Guest)
		if g.Garbled != nil {
			n.log.Warn("a gateway was not understood", "guest", cfg.Guest, "error", g.Garbled)
		}
		close(lines)
	}()
	return lines, g, nil
}

func traceLine(e gateway.Event) api.TraceLine {
	l := api.TraceLine{Phase: string(e.Phase)}
	if e.Pass != nil {
		l.Pass, l.Pages = e.Pass.Number, e.Pass.Pages
	}
	return l
}

// chunkBytes of a file in one line: with base64 it stays well below the bound on
// a line.
const chunkBytes = 256 << 10

func sendFile(path string, tell func(api.TraceLine)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	chunk := make([]byte, chunkBytes)
	for {
		n, err := io.ReadFull(f, chunk)
		final := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !final {
			return err
		}
		tell(api.TraceLine{Phase: "file", Chunk: chunk[:n], Final: final})
		if final {
			return nil
		}
	}
}
