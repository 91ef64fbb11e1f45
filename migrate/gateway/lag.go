package gateway

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"bumpless/migrate/link"
)

// lag is how long what is sent now takes until the destination's QEMU has it. The
// link's own queues are a part of it; the rest no socket tells, since a
// destination that is slow (its CPUs are busy, its QEMU takes pages slowly) has
// acknowledged what it has not handed on. A guest that was stopped then would
// wait for all of it.
//
// Each connection carries a PING behind the pages; the PONG comes when they have
// been written to QEMU.
type lag struct {
	mu      sync.Mutex
	waiting []time.Time     // since when a PING is without its PONG; zero: none is
	last    []time.Duration // from the last PING to its PONG
	asked   []time.Time     // when the last PING was sent that has its PONG
	answers []chan struct{}
}

// pingInterval from a PONG to the next PING.
const pingInterval = 10 * time.Millisecond

func newLag(connections int) *lag {
	l := &lag{waiting: make([]time.Time, connections), last: make([]time.Duration, connections), asked: make([]time.Time, connections)}
	for range connections {
		l.answers = append(l.answers, make(chan struct{}, 1))
	}
	return l
}

// run pings over one connection until stop. What breaks the connection its
// sender tells.
func (l *lag) run(connection int, o *outlet, stop <-chan struct{}) {
	body := binary.BigEndian.AppendUint64(nil, uint64(connection))
	for {
		l.mu.Lock()
		l.waiting[connection] = time.Now()
		l.mu.Unlock()
		if o.write(link.Frame{Type: link.Ping, Body: body}, writeWait) != nil {
			return
		}
		select {
		case <-l.answers[connection]:
		case <-stop:
			return
		}
		select {
		case <-time.After(pingInterval):
		case <-stop:
			return
		}
	}
}

// pong takes in an answer.
func (l *lag) pong(body []byte, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(body) != 8 {
		return fmt.Errorf("a PONG frame of %d bytes, want 8", len(body))
	}
	connection := binary.BigEndian.Uint64(body)
	if connection >= uint64(len(l.waiting)) || l.waiting[connection].IsZero() {
		return fmt.Errorf("a PONG frame for connection %d, which sent no PING", connection)
	}
	l.asked[connection] = l.waiting[connection]
	l.last[connection], l.waiting[connection] = now.Sub(l.waiting[connection]), time.Time{}
	l.answers[connection] <- struct{}{} // it has room: one PING at a time
	return nil
}

// answeredSince tells whether every connection has had a PONG to what was sent
// after at.
func (l *lag) answeredSince(at time.Time) bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, asked := range l.asked {
		if !asked.After(at) {
			return false
		}
	}
	return true
}

// now is the largest of the connections' lags: the last one that was measured, or
// what has passed already if that is more. nil: the destination does not tell.
func (l *lag) now(at time.Time) (d time.Duration) {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, last := range l.last {
		d = max(d, last)
		if since := l.waiting[i]; !since.IsZero() {
			d = max(d, at.Sub(since))
		}
	}
	return d
}
