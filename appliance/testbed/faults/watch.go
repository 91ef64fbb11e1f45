package main

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"bumpless/appliance/testbed/pair"
	"bumpless/migrate/qmp"
)

// watcher hears when a copy's QEMU stops and goes on. It holds the monitor of the
// host's daemon: nobody else can look at the copy meanwhile.
type watcher struct {
	q    *qmp.Client
	done chan struct{}

	mu               sync.Mutex
	stopped, resumed time.Time // the first STOP; the first RESUME after it, or at all
}

func (h *harness) watch(ctx context.Context, host string, epoch uint64) (*watcher, error) {
	ctx, cancel := context.WithTimeout(ctx, pair.KillWait)
	defer cancel()
	q, err := qmp.Dial(ctx, filepath.Join(filepath.Dir(h.Runners[host].MoveSocket(pair.Guest, epoch)), "qmp.sock"))
	if err != nil {
		return nil, err
	}
	w := &watcher{q: q, done: make(chan struct{})}
	go w.listen()
	return w, nil
}

func (w *watcher) listen() {
	defer close(w.done)
	for e := range w.q.Events {
		w.mu.Lock()
		switch {
		case e.Name == "STOP" && w.stopped.IsZero():
			w.stopped, w.resumed = e.At, time.Time{}
		case e.Name == "RESUME" && w.resumed.IsZero():
			w.resumed = e.At
		}
		w.mu.Unlock()
	}
}

// close gives the monitor back, and returns what was heard.
func (w *watcher) close() (stopped, resumed time.Time) {
	_ = w.q.Close() // twice is harmless
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopped, w.resumed
}
