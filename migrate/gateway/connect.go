package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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
	to, err := dialAll(s.cfg.Addresses, s.cfg.Connections)
	if err != nil {
		return err
	}
	if len(to.unreached) > 0 {
		s.report(Event{Phase: Connecting, AtMs: ms(time.Since(s.began)), Unreached: errors.Join(to.unreached...).Error()})
	}
	conns, err := introduceAll(ctx, to.conns, identity{config, s.cfg.Peer, &s.meter}, func(i int) hello { return s.introduction(i, len(to.conns)) })
	if err != nil {
		return err
	}
	s.send = newSender(conns, &s.meter, s.policy.Traits().Compress)
	if err := s.connectDisks(ctx, config, to.reached); err != nil {
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
	if err := s.keepWaking(answer.WakingMs); err != nil {
		return err
	}
	if answer.Pings {
		s.lag = newLag(len(conns))
	}
	go s.listen(reader)
	return nil
}

// introduction of one of so many connections.
func (s *source) introduction(number, total int) hello {
	h := hello{Move: s.cfg.Move, Guest: s.cfg.Guest, Connection: number, Total: total, Disks: len(s.cfg.LocalDisks)}
	if number == 0 {
		h.Key, h.Slots, h.Kinds = s.key, s.slots(s.cfg.RAMBytes, total), int(link.LastKind)
	}
	return h
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
			s.fail(brokenLink{fmt.Errorf("the link to the destination broke: %w", err)})
			return
		}
		if f.Type == link.Pong && s.lag != nil {
			if err := s.lag.pong(f.Body, time.Now()); err != nil {
				s.fail(fmt.Errorf("the destination sent %w", err))
				return
			}
			continue
		}
		f.Body = append([]byte(nil), f.Body...)
		select {
		case s.frames <- f:
		default:
			s.fail(errors.New("the destination sent more frames than the protocol has"))
			return
		}
	}
}
