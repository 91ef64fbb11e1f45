package raftlog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

// The first byte on a connection says what it is for.
const (
	kindRaft    = 'R' // raft's own RPCs
	kindConfirm = 'C' // see confirm.go
)

const (
	handshakeTimeout = 3 * time.Second
	// lanStagger is how long the next LAN's address waits for the one before:
	// a live LAN answers in a millisecond, or in a hundred on a host whose CPUs
	// are taken; a dead one never.
	lanStagger = 200 * time.Millisecond
	// maxHandshakes bounds what strangers can hold open before they have
	// shown a certificate.
	maxHandshakes = 32
)

// stream is raft's StreamLayer over mutual TLS 1.3.
type stream struct {
	self      string
	peers     []Peer
	config    *tls.Config
	logger    *slog.Logger
	listeners []net.Listener
	accepted  chan net.Conn
	stop      chan struct{}
	closing   sync.Once
	slots     chan struct{}

	mu       sync.Mutex
	term     func() uint64 // answers confirmations; nil until raft runs
	confirms map[net.Conn]bool
}

func listen(cfg Config) (*stream, error) {
	t := cfg.TLS.Clone()
	t.MinVersion = tls.VersionTLS13
	t.ClientAuth = tls.RequireAndVerifyClientCert
	s := &stream{self: cfg.ID, peers: cfg.Peers, config: t, logger: cfg.Logger, accepted: make(chan net.Conn),
		stop: make(chan struct{}), slots: make(chan struct{}, maxHandshakes), confirms: map[net.Conn]bool{}}
	for _, address := range cfg.Bind {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen for raft at %s: %w", address, cannotListen(cfg, address, err)), s.Close())
		}
		s.listeners = append(s.listeners, ln)
		go s.serve(ln)
	}
	return s, nil
}

// cannotListen says what the operator can look at.
func cannotListen(cfg Config, address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w (does another daemon hold the port?)", err)
	case !errors.Is(err, syscall.EADDRNOTAVAIL):
		return err
	}
	ip, _, split := net.SplitHostPort(address)
	if split != nil {
		ip = address
	}
	lan := ""
	if i := slices.Index(cfg.Bind, address); i >= 0 && i < 26 {
		lan = fmt.Sprintf("is LAN %c up, and ", 'A'+i)
	}
	return fmt.Errorf("%s is no address of this machine: %sis --host %s right?", ip, lan, cfg.ID)
}

func (s *stream) answerWith(term func() uint64) {
	s.mu.Lock()
	s.term = term
	s.mu.Unlock()
}

func (s *stream) serve(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			select {
			case <-s.stop:
				return
			case <-time.After(50 * time.Millisecond): // out of descriptors, for instance
				continue
			}
		}
		select {
		case s.slots <- struct{}{}:
			go s.welcome(conn)
		default:
			conn.Close() // too many strangers at the door
		}
	}
}

// welcome checks who calls and passes the connection to whom it is for.
func (s *stream) welcome(raw net.Conn) {
	conn := tls.Server(raw, s.config)
	kind, peer, err := s.greet(conn)
	<-s.slots
	if err != nil {
		level := slog.LevelWarn
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			level = slog.LevelDebug // a peer whose connection over the other LAN was quicker
		}
		s.logger.Log(context.Background(), level, "raft connection refused", "from", raw.RemoteAddr().String(), "error", err.Error())
		conn.Close()
		return
	}
	if kind == kindConfirm {
		s.answerConfirms(conn, peer)
		return
	}
	select {
	case s.accepted <- conn:
	case <-s.stop:
		conn.Close()
	}
}

func (s *stream) greet(conn *tls.Conn) (kind byte, peer string, err error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return 0, "", err
	}
	if err := conn.Handshake(); err != nil {
		return 0, "", err
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	i := slices.IndexFunc(s.peers, func(p Peer) bool { return leaf.VerifyHostname(p.ID) == nil })
	if i < 0 {
		return 0, "", fmt.Errorf("certificate %q (%v) names no host of this site", leaf.Subject.CommonName, leaf.DNSNames)
	}
	var first [1]byte
	if _, err := io.ReadFull(conn, first[:]); err != nil {
		return 0, "", err
	}
	if first[0] != kindRaft && first[0] != kindConfirm {
		return 0, "", fmt.Errorf("connection of unknown kind %q", first[0])
	}
	return first[0], s.peers[i].ID, conn.SetDeadline(time.Time{})
}

// Accept returns raft connections only.
func (s *stream) Accept() (net.Conn, error) {
	select {
	case c := <-s.accepted:
		return c, nil
	case <-s.stop:
		return nil, net.ErrClosed
	}
}

// Addr is the address under which the others know this host.
func (s *stream) Addr() net.Addr {
	for _, p := range s.peers {
		if p.ID == s.self {
			return peerAddr(p.Addresses[0])
		}
	}
	return s.listeners[0].Addr()
}

type peerAddr string

func (peerAddr) Network() string  { return "tcp" }
func (a peerAddr) String() string { return string(a) }

// Dial connects to the peer that has this address, over whichever LAN answers.
func (s *stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	i := slices.IndexFunc(s.peers, func(p Peer) bool { return p.Addresses[0] == string(address) })
	if i < 0 {
		return nil, fmt.Errorf("dial %s: no host of this site has that address", address)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.dialPeer(ctx, s.peers[i], kindRaft)
}

// dialPeer races the peer's addresses, staggered, and keeps the first that
// completes a handshake with the peer's own certificate.
func (s *stream) dialPeer(ctx context.Context, p Peer, kind byte) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		conn net.Conn
		err  error
	}
	answers := make(chan answer, len(p.Addresses)) // room for all: nobody may block
	for i, address := range p.Addresses {
		go func() {
			conn, err := s.dialOne(ctx, p.ID, address, kind, time.Duration(i)*lanStagger)
			answers <- answer{conn, err}
		}()
	}
	var errs []error
	for n := range p.Addresses {
		a := <-answers
		if a.err == nil {
			cancel()
			go func() { // close the losers that connected after all
				for range len(p.Addresses) - n - 1 {
					if late := <-answers; late.err == nil {
						late.conn.Close()
					}
				}
			}()
			return a.conn, nil
		}
		errs = append(errs, a.err)
	}
	return nil, fmt.Errorf("connect to host %s: %w", p.ID, errors.Join(errs...))
}

func (s *stream) dialOne(ctx context.Context, peer, address string, kind byte, wait time.Duration) (net.Conn, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
	}
	config := s.config.Clone()
	config.ServerName = peer // the right host, not just any of the site
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	err = errors.Join(conn.SetDeadline(deadline), write(conn, []byte{kind}), conn.SetDeadline(time.Time{}))
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

// Close stops listening and ends connections that are not raft's.
func (s *stream) Close() error {
	var errs []error
	s.closing.Do(func() {
		close(s.stop)
		for _, ln := range s.listeners {
			errs = append(errs, ln.Close())
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.confirms {
			c.Close() // its reader ends with an error, which is the aim
		}
	})
	return errors.Join(errs...)
}
