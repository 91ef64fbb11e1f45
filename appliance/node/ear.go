package node

import (
	"context"
	"time"

	"bumpless/ha/core"
	"bumpless/iec61850/ether"
	"bumpless/iec61850/goose"
	"bumpless/iec61850/sv"
	"bumpless/migrate/gateway"
)

// ear is at the tap of a copy that is coming, and measures how long it is not heard
// once it runs. A copy that waits sends nothing; what QEMU sends in its name (RARP) is
// of no EtherType that is listened to.
type ear struct {
	conn      *ether.Conn
	committed chan time.Time // one
	closed    chan struct{}
}

// heardTypes is what guests of a substation send: GOOSE, Sampled Values, IPv4, ARP, IPv6.
var heardTypes = []uint16{goose.EtherType, sv.EtherType, 0x0800, 0x0806, 0x86dd}

const (
	firstFrameWait = 5 * time.Second        // from COMMIT
	streamWindow   = 500 * time.Millisecond // in which the guest shows how often it sends
	streamFrames   = 8                      // in it, at least: who sends seldom says nothing by being silent
	enoughFrames   = 64                     // the guest needs the CPU more
)

// listenTo a copy that is coming. nil: this host cannot, and says so.
func (n *Node) listenTo(m core.Move) *ear {
	conn, err := ether.Open(n.hypervisor.Tap(m.Guest, m.Epoch), heardTypes...)
	if err != nil {
		n.log.Warn("how long a guest is not heard after its move will not be measured", "move", m.ID, "error", err)
		return nil
	}
	e := &ear{conn: conn, committed: make(chan time.Time, 1), closed: make(chan struct{})}
	go func() {
		defer conn.Close()
		if ms, ok := e.listen(n.ctx); ok {
			n.heard(m, ms)
		}
	}()
	return e
}

// heard: the guest is, ms after it could run.
func (n *Node) heard(m core.Move, ms int) {
	n.log.Info("the guest is heard where it runs now", "move", m.ID, "guest", m.Guest, "waking_ms", ms)
	known := func(guest string) bool { _, ok := n.hypervisor.Specs[guest]; return ok }
	if err := n.wakings.add(m.Guest, ms, known); err != nil {
		n.log.Warn("the next move may keep too little of the budget", "error", err)
	}
}

// saw one of the destination's gateway's events.
func (e *ear) saw(event gateway.Event) {
	if e == nil || event.Phase != gateway.Committed {
		return
	}
	select {
	case e.committed <- time.Now():
	default: // said twice
	}
}

// close ends, once, an ear that waits for COMMIT: the gateway has ended. One that has heard of
// it ends by itself.
func (e *ear) close() {
	if e != nil {
		close(e.closed)
	}
}

func (e *ear) listen(ctx context.Context) (ms int, ok bool) {
	var since time.Time
	select {
	case since = <-e.committed:
	case <-e.closed:
		select {
		case since = <-e.committed: // both, at once
		default:
			return 0, false
		}
	case <-ctx.Done():
		return 0, false
	}
	var frames frameTimes
	for until := since.Add(firstFrameWait); ctx.Err() == nil && frames.n < enoughFrames; {
		f, err := e.conn.Receive(until)
		if err != nil {
			break // the time is over, or the tap is gone with its copy
		}
		if frames.n == 0 {
			until = f.Received.Add(streamWindow)
		}
		frames.add(f.Received)
	}
	return frames.waking(since)
}

// frameTimes of a guest that has begun to send.
type frameTimes struct {
	first, last time.Time
	n           int
}

func (t *frameTimes) add(at time.Time) {
	if t.n == 0 {
		t.first = at
	}
	t.last = at
	t.n++
}

// waking is the silence from since to the first frame, less the period of what was sent
// behind it: a guest that runs may be silent for that long. One that sends seldom does
// not tell.
func (t *frameTimes) waking(since time.Time) (ms int, ok bool) {
	if t.n < streamFrames {
		return 0, false
	}
	period := t.last.Sub(t.first) / time.Duration(t.n-1)
	return int(max(0, t.first.Sub(since)-period).Milliseconds()), true
}
