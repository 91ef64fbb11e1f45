package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"bumpless/migrate/link"
)

func (s *source) connect(ctx context.Context) error {
	config, err := s.cfg.TLS.Load()
	if err != nil {
		return err
	}
	if s.key, err = newKey(); err != nil {
		return err
	}
	if s.hasher, err = newHasher(s.key); err != nil {
		return err
	}
	raws, err := dialAll(s.cfg.Addresses, s.cfg.Connections, reachTimeout)
	if err != nil {
		return err
	}
	conns, err := s.introduceAll(ctx, config, raws)
	if err != nil {
		return err
	}
	s.send = newSender(conns, &s.meter, s.policy.Traits().Compress)
	if err := s.connectDisks(ctx, config); err != nil {
		return err
	}
	s.pace = newPacer(s.cfg, conns, s.mirrors.conns())
	reader := link.NewReader(bufio.NewReader(conns[0]))
	if err := conns[0].SetReadDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	answer, err := readHello(reader, s.cfg.Move, s.cfg.Guest)
	if err != nil {
		return err
	}
	s.granted, s.kinds = answer.Slots, answer.kinds()
	if err := conns[0].SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if answer.Pings {
		s.lag = newLag(len(conns))
	}
	go s.listen(reader)
	return nil
}

// introduceAll shakes hands over all connections at a time: over a long way one after
// the other takes as long as a pass. The first failure ends the others.
func (s *source) introduceAll(ctx context.Context, config *tls.Config, raws []*net.TCPConn) ([]link.Conn, error) {
	conns, failed := make([]link.Conn, len(raws)), make(chan error, len(raws))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var all sync.WaitGroup
	for i, raw := range raws {
		all.Go(func() {
			var err error
			if conns[i], err = s.introduce(ctx, config, raw, i, len(raws)); err != nil {
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

// introduce one of so many connections.
func (s *source) introduce(ctx context.Context, config *tls.Config, raw *net.TCPConn, number, total int) (link.Conn, error) {
	c, err := link.Client(raw, config, s.cfg.Peer, &s.meter)
	if err != nil {
		return c, err
	}
	if err := c.HandshakeContext(ctx); err != nil {
		return c, err
	}
	h := hello{Move: s.cfg.Move, Guest: s.cfg.Guest, Connection: number, Total: total, Disks: len(s.cfg.LocalDisks)}
	if number == 0 {
		h.Key, h.Slots, h.Kinds = s.key, s.slots(s.cfg.RAMBytes, total), int(link.LastKind)
	}
	return c, writeHello(c, h)
}

// slots that each connection keeps, of a guest with so much RAM. What is never
// compressed is not shortened either: precopy is the baseline.
func (s *source) slots(ram uint64, connections int) int {
	if !s.policy.Traits().Compress {
		return 0
	}
	return slotsFor(s.cfg.DeltaCacheMiB, ram, connections)
}

// listen reads what the destination says.
func (s *source) listen(r *link.Reader) {
	for {
		f, err := r.Read()
		if err != nil {
			s.broken <- fmt.Errorf("the link to the destination broke: %w", err)
			return
		}
		if f.Type == link.Pong && s.lag != nil {
			if err := s.lag.pong(f.Body, time.Now()); err != nil {
				s.broken <- fmt.Errorf("the destination sent %w", err)
				return
			}
			continue
		}
		f.Body = append([]byte(nil), f.Body...)
		select {
		case s.frames <- f:
		default:
			s.broken <- errors.New("the destination sent more frames than the protocol has")
			return
		}
	}
}
