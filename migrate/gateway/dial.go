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

// dialAll makes n connections over every address in turn, so that both LANs
// are used, at a time. An address that fails is not tried again: all go over the others.
func dialAll(addresses []string, n int, timeout time.Duration) ([]*net.TCPConn, error) {
	if len(addresses) == 0 {
		return nil, errors.New("connect to the destination: no address")
	}
	live := slices.Clone(addresses)
	var conns []*net.TCPConn
	var failures []error
	for len(conns) < n && len(live) > 0 {
		var turn []string
		for i := len(conns); i < n; i++ {
			turn = append(turn, live[i%len(live)])
		}
		made, errs := dialEach(turn, timeout)
		for i, err := range errs {
			if err == nil {
				conns = append(conns, made[i])
			} else if slices.Contains(live, turn[i]) {
				failures = append(failures, err)
				live = slices.DeleteFunc(live, func(a string) bool { return a == turn[i] })
			}
		}
	}
	if len(conns) == 0 {
		return nil, fmt.Errorf("connect to the destination's gateway: %w", errors.Join(failures...))
	}
	return conns, nil
}

// dialEach of the addresses, at a time.
func dialEach(addresses []string, timeout time.Duration) ([]*net.TCPConn, []error) {
	conns, errs := make([]*net.TCPConn, len(addresses)), make([]error, len(addresses))
	var all sync.WaitGroup
	for i, address := range addresses {
		all.Go(func() {
			var c net.Conn
			if c, errs[i] = net.DialTimeout("tcp", address, timeout); errs[i] == nil {
				conns[i] = c.(*net.TCPConn)
			}
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
