package link

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Meter counts what crosses the sockets, TLS included.
type Meter struct{ Sent, Received atomic.Int64 }

// wire is one connection, under TLS. It counts its bytes, and gathers the
// records of a frame so that the kernel sees one write and not five.
type wire struct {
	net.Conn
	meter *Meter
	ahead *bufio.Reader // of Conn: TLS reads a record of 16 KiB at a time

	mu        sync.Mutex // TLS may answer from the reader's goroutine
	gathering bool
	kept      []byte
}

// readAhead of what the kernel has, in bytes.
const readAhead = 64 << 10

func newWire(raw net.Conn, meter *Meter) *wire {
	return &wire{Conn: raw, meter: meter, ahead: bufio.NewReaderSize(raw, readAhead)}
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.ahead.Read(b)
	w.meter.Received.Add(int64(n))
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gathering {
		return w.pass(b)
	}
	w.kept = append(w.kept, b...)
	if len(w.kept) >= maxGathered {
		if err := w.passKept(); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// maxGathered bytes are kept: a batch with its TLS records, not a device state.
const maxGathered = 160 << 10

func (w *wire) pass(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	w.meter.Sent.Add(int64(n))
	return n, err
}

func (w *wire) passKept() error {
	_, err := w.pass(w.kept)
	w.kept = w.kept[:0]
	return err
}

// notSent bounds what waits in the kernel of one connection before it is even
// under way, in bytes: it is part of the pause. What is under way is what the
// path holds, and is not bounded here: a send buffer of 128 KiB carried no more
// than 150 Mbit/s over a gigabit path with 20 ms of round trip.
const (
	notSent       = 128 << 10
	notSentAtLast = 16 << 10
)

// Conn is one connection of a move.
type Conn struct {
	*tls.Conn
	raw  *net.TCPConn
	wire *wire
}

func (c Conn) gather() {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.wire.gathering = true
}

func (c Conn) flush() error {
	c.wire.mu.Lock()
	defer c.wire.mu.Unlock()
	c.wire.gathering = false
	return c.wire.passKept()
}

// Unsent is how many bytes the kernel holds that the peer has not
// acknowledged (SIOCOUTQ).
func (c Conn) Unsent() int64 { return c.held(unix.SIOCOUTQ) }

// NotSent is how many bytes the kernel holds that it has not sent yet
// (SIOCOUTQNSD): the link has other work.
func (c Conn) NotSent() int64 { return c.held(unix.SIOCOUTQNSD) }

// held bytes, as an ioctl counts them; 0 of a connection that is closed.
func (c Conn) held(request uint) int64 {
	var n int
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return 0
	}
	if err := raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), request) }); err != nil {
		return 0
	}
	return int64(n)
}

// RoundTrip is the shortest that the kernel has seen lately on this connection
// (TCP_INFO); 0 when it does not say.
func (c Conn) RoundTrip() time.Duration {
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return 0
	}
	var us uint32
	if err := raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			us = info.Min_rtt
		}
	}); err != nil || us == math.MaxUint32 {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// Shrink leaves little waiting in the kernel from now on: what waits with us
// can still be overwritten by newer contents.
func (c Conn) Shrink() error { return setNotSent(c.raw, notSentAtLast) }

// Client makes the source's side of a connection. The peer must be peerName.
func Client(raw *net.TCPConn, config *tls.Config, peerName string, meter *Meter) (Conn, error) {
	if err := tune(raw); err != nil {
		return Conn{}, err
	}
	config = config.Clone()
	config.ServerName = peerName
	config.DynamicRecordSizingDisabled = true // small records first, after each second of silence: the stop phase is one
	w := newWire(raw, meter)
	return Conn{tls.Client(w, config), raw, w}, nil
}

// Server makes the destination's side. The peer's certificate must bear
// peerName: being of the same site is not enough to hand over a guest.
func Server(raw *net.TCPConn, config *tls.Config, peerName string, meter *Meter) (Conn, error) {
	if err := tune(raw); err != nil {
		return Conn{}, err
	}
	config = config.Clone()
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("no certificate")
		}
		return state.PeerCertificates[0].VerifyHostname(peerName)
	}
	w := newWire(raw, meter)
	return Conn{tls.Server(w, config), raw, w}, nil
}

// keepAlive notices within 20 s that the peer's host is gone: whoever only
// reads would not.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

func tune(c *net.TCPConn) error {
	if err := errors.Join(c.SetNoDelay(true), c.SetKeepAliveConfig(keepAlive), standBack(c)); err != nil {
		return fmt.Errorf("tune connection: %w", err)
	}
	if err := setNotSent(c, notSent); err != nil {
		return fmt.Errorf("tune connection: %w", err)
	}
	return nil
}

func setNotSent(c *net.TCPConn, bytes int) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
	})
	return errors.Join(err, failed)
}

// Files names the certificate, its key and the site's CA, PEM.
type Files struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
	CA   string `json:"ca"`
}

// Load makes a configuration for both sides: TLS 1.3, both ends verified.
func (f Files) Load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("load the certificate %s and its key %s: %w", f.Cert, f.Key, err)
	}
	ca, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("load the site's CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("load the site's CA: %s holds no certificate", f.CA)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// Linger lets the peer read what was written last: it says that nothing more
// will be, and discards what still comes, until the peer closes or the wait is
// over. To close with data unread would be a reset, which takes back what the
// peer has not read.
func (c Conn) Linger(wait time.Duration) {
	if c.raw.CloseWrite() != nil || c.raw.SetReadDeadline(time.Now().Add(wait)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, c.raw) // it ends with the connection or the wait
}

// Cut ends the connection at once, without TLS's farewell: whoever is blocked
// in a write or read returns.
func (c Conn) Cut() { _ = c.raw.Close() } // closed twice is fine
