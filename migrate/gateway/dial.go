package gateway

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
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
