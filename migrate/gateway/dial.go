package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"bumpless/migrate/link"
)

const (
	// reachTimeout is for an address to be reached: SYN goes out at 0, 1 and 3 s.
	reachTimeout = 4 * time.Second
	// besideWait is for the others when one has been: every move would wait for a
	// LAN that is dead.
	besideWait = 1500 * time.Millisecond
)

// dialed are the connections to a destination.
type dialed struct {
	conns     []*net.TCPConn
	reached   []string // addresses that they go to
	unreached []error  // why none goes to the others
}

// dialAll makes n connections over every address in turn, so that both LANs
// are used, at a time. An address that fails is not tried again: all go over the others.
func dialAll(addresses []string, n int) (d dialed, err error) {
	if len(addresses) == 0 {
		return d, errors.New("connect to the destination: no address")
	}
	live, failures := slices.Clone(addresses), map[string]error{}
	for len(d.conns) < n && len(live) > 0 {
		var turn []string
		for i := len(d.conns); i < n; i++ {
			turn = append(turn, live[i%len(live)])
		}
		made, errs := dialEach(turn)
		for i, err := range errs {
			if err != nil {
				failures[turn[i]] = err
				continue
			}
			d.conns = append(d.conns, made[i])
			if !slices.Contains(d.reached, turn[i]) {
				d.reached = append(d.reached, turn[i])
			}
		}
		live = slices.DeleteFunc(live, func(a string) bool { return failures[a] != nil })
	}
	for _, a := range addresses {
		if err := failures[a]; err != nil && !slices.Contains(d.reached, a) {
			d.unreached = append(d.unreached, err)
		}
	}
	if len(d.conns) == 0 {
		return d, fmt.Errorf("connect to the destination's gateway: %w", errors.Join(d.unreached...))
	}
	return d, nil
}

var errBeside = fmt.Errorf("not reached within %v of another address", besideWait)

// dialEach of the addresses, at a time.
func dialEach(addresses []string) ([]*net.TCPConn, []error) {
	conns, errs := make([]*net.TCPConn, len(addresses)), make([]error, len(addresses))
	ctx, cancel := context.WithTimeout(context.Background(), reachTimeout)
	defer cancel()
	ctx, beside := context.WithCancelCause(ctx)
	defer beside(nil)
	var one sync.Once
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() {
			var dialer net.Dialer
			c, err := dialer.DialContext(ctx, "tcp", address)
			if err == nil {
				conns[i] = c.(*net.TCPConn)
				one.Do(func() { time.AfterFunc(besideWait, func() { beside(errBeside) }) })
			} else if context.Cause(ctx) == errBeside {
				err = fmt.Errorf("dial %s: %w", address, errBeside)
			}
			errs[i] = err
		})
	}
	all.Wait()
	return conns, errs
}

// identity is what this end of connections is, and who the other one must be.
type identity struct {
	config *tls.Config
	peer   string
	meter  *link.Meter
}

// introduceAll shakes hands over all connections at a time, and says HELLO over each:
// over a long way one after the other takes as long as a pass. The first failure ends
// all of them.
func introduceAll(ctx context.Context, raws []*net.TCPConn, as identity, say func(i int) hello) ([]link.Conn, error) {
	conns, failed := make([]link.Conn, len(raws)), make(chan error, len(raws))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for i, raw := range raws {
		all.Go(func() {
			var err error
			if conns[i], err = introduce(ctx, raw, as, say(i)); err != nil {
				failed <- fmt.Errorf("connect to %s: %w", raw.RemoteAddr(), err)
				cancel()
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		for _, raw := range raws {
			raw.Close()
		}
		return nil, err
	default:
		return conns, nil
	}
}

func introduce(ctx context.Context, raw *net.TCPConn, as identity, h hello) (link.Conn, error) {
	c, err := link.Client(raw, as.config, as.peer, as.meter)
	if err != nil {
		return c, err
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return c, err
	}
	return c, writeHello(c, h)
}
