package link

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Meter counts what crosses the sockets, TLS included.
type Meter struct{ Sent, Received atomic.Int64 }

// meteredConn counts the bytes of one connection, under TLS.
type meteredConn struct {
	net.Conn
	meter *Meter
}

func (c meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.meter.Received.Add(int64(n))
	return n, err
}

func (c meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.meter.Sent.Add(int64(n))
	return n, err
}

// sendBuffer bounds what waits in the kernel of one connection, in bytes: it is
// part of the pause. The kernel doubles it.
const sendBuffer = 128 << 10

// Conn is one connection of a move.
type Conn struct {
	*tls.Conn
	raw *net.TCPConn
}

// Unsent is how many bytes the kernel holds that the peer has not
// acknowledged (SIOCOUTQ).
func (c Conn) Unsent() int64 {
	var n int
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return 0
	}
	if err := raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil {
		return 0
	}
	return int64(n)
}

// Client makes the source's side of a connection. The peer must be peerName.
func Client(raw *net.TCPConn, config *tls.Config, peerName string, meter *Meter) (Conn, error) {
	if err := tune(raw); err != nil {
		return Conn{}, err
	}
	config = config.Clone()
	config.ServerName = peerName
	return Conn{tls.Client(meteredConn{raw, meter}, config), raw}, nil
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
	return Conn{tls.Server(meteredConn{raw, meter}, config), raw}, nil
}

// keepAlive notices within 20 s that the peer's host is gone: whoever only
// reads would not.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}

func tune(c *net.TCPConn) error {
	if err := errors.Join(c.SetNoDelay(true), c.SetKeepAliveConfig(keepAlive)); err != nil {
		return fmt.Errorf("tune connection: %w", err)
	}
	if err := c.SetWriteBuffer(sendBuffer); err != nil && !errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("tune connection: %w", err)
	}
	return nil
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
		return nil, fmt.Errorf("load the move's certificate: %w", err)
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
