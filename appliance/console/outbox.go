package console

import (
	"bytes"
	"io"
	"sync"
)

// outbox is the way to the port: bounded, with CR LF for each end of a line. A
// port that takes nothing (nobody reads the other end of a pty) must not stop
// the session from reading Ctrl-C.
type outbox struct {
	queue chan []byte
	ended chan struct{} // closed by stop
	done  chan struct{} // closed when the last byte is out, or never will be
	once  sync.Once
}

const (
	outboxChunks = 16
	chunkBytes   = 512
)

func newOutbox(port io.Writer) *outbox {
	o := &outbox{queue: make(chan []byte, outboxChunks), ended: make(chan struct{}), done: make(chan struct{})}
	go o.run(port)
	return o
}

func (o *outbox) run(port io.Writer) {
	defer close(o.done)
	for {
		select {
		case b := <-o.queue:
			if !o.writeAll(port, b) {
				o.stop()
				return
			}
		case <-o.ended:
			return
		}
	}
}

// writeAll writes b; a tty may take a part of it. After stop the port may be
// closed and its number another file's: it is not touched again.
func (o *outbox) writeAll(port io.Writer, b []byte) bool {
	for len(b) > 0 {
		n, err := port.Write(b)
		if err != nil || n == 0 {
			return false
		}
		b = b[n:]
		select {
		case <-o.ended:
			return false
		default:
		}
	}
	return true
}

// drop lets go of what waits: a slow line has seconds of it.
func (o *outbox) drop() {
	for {
		select {
		case <-o.queue:
		default:
			return
		}
	}
}

// stop lets go of everything that waits.
func (o *outbox) stop() { o.once.Do(func() { close(o.ended) }) }

// Write waits for room, for as long as the session lasts.
func (o *outbox) Write(p []byte) (int, error) {
	lines := bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n"))
	for len(lines) > 0 {
		n := min(len(lines), chunkBytes)
		select {
		case o.queue <- append([]byte(nil), lines[:n]...):
		case <-o.ended:
			return 0, io.ErrClosedPipe
		}
		lines = lines[n:]
	}
	return len(p), nil
}

// echo sends what was typed back, or drops it when the port is behind.
func (o *outbox) echo(keys []byte) {
	if len(keys) == 0 {
		return
	}
	select {
	case o.queue <- append([]byte(nil), keys...):
	default:
	}
}
