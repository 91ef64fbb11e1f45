package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"bumpless/migrate/link"
)

// seat is the place of one of the source's connections.
type seat struct {
	conn   link.Conn
	reader *link.Reader
}

func (s seat) taken() bool { return s.reader != nil }

// caller is a connection that has introduced itself, or failed to.
type caller struct {
	seat
	raw   *net.TCPConn
	hello hello
	err   error
}

// maxCallers bounds the connections that are being looked at. Each may take
// dialTimeout to say nothing: a stranger must not keep the right peer waiting.
const maxCallers = 64

// accept waits until all connections of the source are there.
func (d *destination) accept(ctx context.Context) error {
	config, err := d.cfg.TLS.Load()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	callers, places := make(chan caller), make(chan struct{}, maxCallers)
	var addresses []string
	for _, a := range d.cfg.Listen {
		l, err := net.Listen("tcp", a)
		if err != nil {
			return fmt.Errorf("listen for the source's gateway: %w", err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
		go d.acceptOn(ctx, l, config, callers, places)
	}
	d.report(Event{Phase: Connecting, AtMs: ms(time.Since(d.began)), Addresses: addresses})
	for left := -1; left != 0; {
		select {
		case c := <-callers:
			if c.err == nil {
				c.err = d.seat(c)
			}
			if c.err != nil {
				// A stranger, or a source of another move: refused, and said;
				// the right one may still come.
				d.report(Event{Phase: Connecting, AtMs: ms(time.Since(d.began)),
					Result: &Result{Outcome: Refused, Reason: fmt.Sprintf("connection from %s refused: %v", c.raw.RemoteAddr(), c.err)}})
				c.raw.Close()
				continue
			}
			left = d.missing()
		case <-ctx.Done():
			return late("waiting for the source's gateway", ctx)
		}
	}
	return writeHello(d.seats[0].conn, hello{Move: d.cfg.Move, Guest: d.cfg.Guest, Total: len(d.seats), Slots: d.slots, Kinds: int(link.LastKind), Pings: true,
		WakingMs: min(max(0, d.cfg.WakingMs), MaxWakingMs)})
}

func (d *destination) acceptOn(ctx context.Context, l net.Listener, config *tls.Config, callers chan<- caller, places chan struct{}) {
	for {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		raw, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { <-places }()
			c := d.greet(ctx, raw.(*net.TCPConn), config)
			select {
			case callers <- c:
			case <-ctx.Done():
				raw.Close()
			}
		}()
	}
}

// greet checks a connection's certificate and reads its HELLO.
func (d *destination) greet(ctx context.Context, raw *net.TCPConn, config *tls.Config) (c caller) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c.raw = raw
	if c.conn, c.err = link.Server(raw, config, d.cfg.Peer, &d.meter); c.err != nil {
		return c
	}
	if c.err = c.conn.HandshakeContext(ctx); c.err != nil {
		return c
	}
	if c.err = c.conn.SetReadDeadline(time.Now().Add(dialTimeout)); c.err != nil {
		return c
	}
	// A small buffer, for headers: a batch goes past it, and is not copied twice.
	c.reader = link.NewReader(bufio.NewReader(c.conn))
	if c.hello, c.err = readHello(c.reader, d.cfg.Move, d.cfg.Guest); c.err != nil {
		return c
	}
	c.err = c.conn.SetReadDeadline(time.Time{})
	return c
}

// seat gives a connection its place; the first one says how many there are.
func (d *destination) seat(c caller) error {
	if err := d.sameDisks(c.hello); err != nil {
		return err
	}
	if c.hello.Disk > 0 {
		return d.seatDisk(c)
	}
	switch {
	case d.seats == nil:
		d.seats = make([]seat, c.hello.Total)
	case len(d.seats) != c.hello.Total:
		return fmt.Errorf("connection %d of %d, the first one said %d in all", c.hello.Connection, c.hello.Total, len(d.seats))
	case d.seats[c.hello.Connection].taken():
		return fmt.Errorf("a second connection %d", c.hello.Connection)
	}
	if c.hello.Connection == 0 {
		h, err := newHasher(c.hello.Key)
		if err != nil {
			return err
		}
		d.hasher = h
		d.slots = min(c.hello.Slots, slotsFor(d.cfg.DeltaCacheMiB, d.cfg.RAMBytes, len(d.seats)))
	} else if len(c.hello.Key) != 0 {
		return errors.New("a key outside connection 0")
	}
	d.seats[c.hello.Connection] = c.seat
	return nil
}
