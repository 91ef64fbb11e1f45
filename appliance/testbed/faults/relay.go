package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"bumpless/appliance/testbed"
)

// relay carries the connections of one LAN between two gateways, on the source's
// host. It can go deaf in one direction, be late, or reset what it carries: what
// TLS hides, a relay can still lose.
//
//	source's gateway --loopback--> relay --LAN--> destination's gateway
type relay struct {
	listener net.Listener
	dial     func() (net.Conn, error)

	orders, answers way // source to destination, and back

	mu    sync.Mutex
	conns []*net.TCPConn
	gone  bool
}

// way is one direction.
type way struct {
	deaf  atomic.Bool  // what comes is lost
	delay atomic.Int64 // ns, of everything
}

// newRelay listens on the host and carries to an address that it reaches.
func newRelay(host *testbed.Host, to string) (*relay, error) {
	r := &relay{dial: func() (c net.Conn, err error) {
		err = host.InNetwork(func() (err error) { c, err = net.DialTimeout("tcp", to, relayWait); return err })
		return c, err
	}}
	err := host.InNetwork(func() (err error) { r.listener, err = net.Listen("tcp", "127.0.0.1:0"); return err })
	if err != nil {
		return nil, err
	}
	go r.accept()
	return r, nil
}

const relayWait = 5 * time.Second

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		far, err := r.dial()
		if err != nil || !r.keep(near, far) {
			near.Close()
			continue
		}
		go carry(near, far, &r.orders)
		go carry(far, near, &r.answers)
	}
}

func (r *relay) keep(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		tcp := c.(*net.TCPConn)
		_, _ = tcp.SetReadBuffer(relayBuffer), tcp.SetWriteBuffer(relayBuffer) // a larger one only delays
		r.conns = append(r.conns, tcp)
	}
	return !r.gone
}

// reset ends the connections at once, for both sides.
func (r *relay) reset() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, c := range r.conns {
		if err := errors.Join(c.SetLinger(0), c.Close()); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	r.conns = nil
	return errors.Join(errs...)
}

func (r *relay) close() error {
	r.mu.Lock()
	r.gone = true
	r.mu.Unlock()
	r.listener.Close()
	return r.reset()
}

// chunk that is on its way.
type chunk struct {
	due  time.Time
	data []byte
}

// A relay holds no more than the link that it stands for: what waits in it, a
// source takes for sent. Only a way that is late has more under way, 16 MiB at
// most: 1 Gbit/s has 5 MB in 40 ms.
const (
	relayBuffer = 64 << 10
	maxChunks   = 256
)

// carry ends when one side closes, and closes the other one.
func carry(from, to net.Conn, w *way) {
	defer from.Close()
	queue, written, ended := make(chan chunk, maxChunks), make(chan struct{}, maxChunks), make(chan struct{})
	go func() {
		defer close(ended)
		defer to.Close()
		for c := range queue {
			time.Sleep(time.Until(c.due))
			if _, err := to.Write(c.data); err != nil {
				return
			}
			written <- struct{}{}
		}
	}()
	defer close(queue)
	for sent := 0; ; {
		b := make([]byte, relayBuffer)
		n, err := from.Read(b)
		deaf, delay := w.deaf.Load(), time.Duration(w.delay.Load())
		if n > 0 && !deaf {
			queue <- chunk{time.Now().Add(delay), b[:n]}
			for sent++; sent == maxChunks || (delay == 0 && sent > 0); sent-- {
				select {
				case <-written:
				case <-ended:
					return
				}
			}
		}
		if err != nil {
			if deaf && errors.Is(err, io.EOF) {
				<-ended // a link that lost what was said loses the farewell too
			}
			return
		}
	}
}
