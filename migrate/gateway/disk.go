package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"bumpless/migrate/link"

	"golang.org/x/sys/unix"
)

// # Local disks
//
// A disk whose image belongs to one host is mirrored while the guest runs, by
// the two QEMUs themselves: the destination's exports its empty image over NBD,
// the source's copies it all and then what the guest writes. The memory follows
// when the mirrors are in step.
//
// The mirror follows in the background. QEMU's other way, to make each write on
// both sides before the guest's is done (write-blocking), would bound what is
// left at STOP by itself, but a link that stalls would then stall the guest, and
// QEMU 10.0.2 crashes when a mirror fails with such a write under way: the job
// ends without it and frees what it needs (a guest was lost to that here, in
// libc's allocator). So what is left is looked at before STOP instead, and goes
// over while the guest is stopped, under the deadline.
//
//	source QEMU =nbd.sock= source gateway =mutual TLS= destination gateway =nbd.sock= destination QEMU
//
// NBD crosses the link in a connection of the gateways' own, one for each disk.
// QEMU could do TLS itself, but would then listen on the network, would need the
// host's key in a layout of its own, and checks a client's name only by an extra
// object; this way one handshake with one rule for names serves all that crosses
// the link, at no new port.
//
// Between STOP and COMMIT the mirrors and the exports are ended, each by the
// side that made it, and each before it says the word that lets the move go on:
// the source before it sends the device state, the destination before READY.
// QEMU itself would let a migration pass with both still there. A move that is
// rolled back removes its mirrors; the next one makes new ones.

const (
	maxLocalDisks = 8
	// stallWait is how long a mirror waits for an answer before the move is given
	// up. QEMU's block layer may wait for it too, as on a reset of the disk.
	stallWait = 5 * time.Second
)

// A tunnel carries one disk's NBD between the QEMU here and the peer's gateway.
type tunnel struct {
	conn link.Conn
	// sent and received are when a byte last came from QEMU and from the peer, in
	// ns since the tunnel was made.
	made           time.Time
	sent, received atomic.Int64
}

func newTunnel(conn link.Conn, raw *net.TCPConn) (*tunnel, error) {
	t := &tunnel{conn: conn, made: time.Now()}
	c, err := raw.SyscallConn()
	if err == nil {
		// What a host that is gone does not acknowledge must end too.
		var opt error
		err = c.Control(func(fd uintptr) {
			opt = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(stallWait.Milliseconds()))
		})
		err = errors.Join(err, opt)
	}
	if err != nil {
		return nil, fmt.Errorf("tune a disk's connection: %w", err)
	}
	return t, nil
}

// cut ends the tunnel at once; QEMU notices that its connection is gone.
func (t *tunnel) cut() { t.conn.Cut() }

var errStalled = fmt.Errorf("no answer for %v", stallWait)

// carry carries bytes both ways until one side ends.
func (t *tunnel) carry(local net.Conn) error {
	ended := make(chan error, 2)
	go func() { ended <- pass(t.conn, local, t.made, &t.sent) }()
	go func() { ended <- pass(local, t.conn, t.made, &t.received) }()
	err := <-ended
	local.Close()
	t.cut()
	<-ended
	return err
}

// carryRequests is carry where QEMU is the client: it also ends when a request
// has got no answer for stallWait. The server's greeting counts as one.
func (t *tunnel) carryRequests(local net.Conn) error {
	t.sent.Store(int64(time.Since(t.made)))
	stalled, done := make(chan error, 1), make(chan struct{})
	go func() {
		err := t.watch(done)
		if err != nil {
			t.cut()
		}
		stalled <- err
	}()
	err := t.carry(local)
	close(done)
	if stall := <-stalled; stall != nil {
		return stall
	}
	return err
}

// watch looks for requests without an answer: something that was sent later
// than anything came back.
func (t *tunnel) watch(done <-chan struct{}) error {
	ticker := time.NewTicker(stallWait / 10)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ticker.C:
			sent, now := time.Duration(t.sent.Load()), time.Since(t.made)
			if int64(sent) > t.received.Load() && now-sent > stallWait {
				return errStalled
			}
		}
	}
}

// pass copies from one to the other, and notes when something came.
func pass(to io.Writer, from io.Reader, since time.Time, came *atomic.Int64) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			came.Store(int64(time.Since(since)))
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// mirrorNames are those that a move gives to what it makes in QEMU for a node.
func mirrorJob(node string) string    { return "mirror-" + node }
func mirrorTarget(node string) string { return "target-" + node }
func exportID(node string) string     { return "export-" + node }

// every runs f until it says that it is done.
func every(ctx context.Context, pause time.Duration, what string, f func() (done bool, err error)) error {
	for {
		done, err := f()
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			<-ctx.Done() // a command that ran into the deadline is that deadline's
			return late(what, ctx)
		}
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return late(what, ctx)
		case <-time.After(pause):
		}
	}
}
