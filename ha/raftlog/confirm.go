package raftlog

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Confirmation: the leader sends a fresh random number to every peer; a peer
// answers with the number and its current term. A quorum that is still in the
// leader's own term AFTER the call proves that no other leader had been
// elected before the call: a vote raises the voter's term first.
//
//	question  16 bytes  nonce
//	answer    24 bytes  nonce, term (big endian)
const (
	nonceSize    = 16
	answerSize   = nonceSize + 8
	confirmIdle  = 30 * time.Second // a silent connection is closed after that
	confirmWrite = 3 * time.Second
)

// Confirm proves that this host leads at some moment after the call, and that
// the state up to the returned core.State.Index holds everything that had been
// committed by then. It fails with ErrNotLeader when a quorum does not agree
// before ctx ends.
func (l *Log) Confirm(ctx context.Context) (index uint64, err error) {
	term, barrier := l.leads()
	if term == 0 {
		return 0, l.notLeading()
	}
	if err := l.quorum(ctx, term); err != nil {
		return 0, err
	}
	if now, _ := l.leads(); now != term || l.raft.State() != raft.Leader || l.raft.CurrentTerm() != term {
		return 0, l.notLeading()
	}
	return l.appliedUpTo(ctx, l.raft.CommitIndex(), barrier)
}

func (l *Log) quorum(ctx context.Context, term uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	votes := make(chan bool, len(l.cfg.Peers))
	for _, p := range l.cfg.Peers {
		if p.ID != l.cfg.ID {
			go func() { votes <- l.askTerm(ctx, p) == term }()
		}
	}
	agree, need := 1, len(l.cfg.Peers)/2+1
	for range len(l.cfg.Peers) - 1 {
		if agree >= need {
			break
		}
		select {
		case yes := <-votes:
			if yes {
				agree++
			}
		case <-ctx.Done():
			return fmt.Errorf("confirm leadership: %w: %d of %d needed hosts answered: %w", ErrNotLeader, agree, need, ctx.Err())
		}
	}
	if agree < need {
		return fmt.Errorf("confirm leadership: %w: %d of %d needed hosts agree", ErrNotLeader, agree, need)
	}
	return nil
}

// askTerm returns the peer's term, 0 when it does not answer.
func (l *Log) askTerm(ctx context.Context, p Peer) uint64 {
	// A connection for each question: at one question a second the handshake
	// does not matter, and no answer to an older one can be in its buffers.
	conn, err := l.stream.dialPeer(ctx, p, kindConfirm)
	if err != nil {
		return 0
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	term, err := ask(conn)
	if err != nil {
		return 0
	}
	return term
}

func ask(conn net.Conn) (uint64, error) {
	var nonce [nonceSize]byte
	rand.Read(nonce[:]) // never fails, by its contract
	if err := conn.SetDeadline(time.Now().Add(confirmWrite)); err != nil {
		return 0, err
	}
	if err := write(conn, nonce[:]); err != nil {
		return 0, err
	}
	var answer [answerSize]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return 0, err
	}
	if [nonceSize]byte(answer[:nonceSize]) != nonce {
		return 0, fmt.Errorf("confirm leadership: the answer belongs to another question")
	}
	return binary.BigEndian.Uint64(answer[nonceSize:]), nil
}

// answerConfirms answers one peer's questions until it goes away.
func (s *stream) answerConfirms(conn net.Conn, peer string) {
	s.mu.Lock()
	s.confirms[conn] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.confirms, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	for {
		var answer [answerSize]byte
		if conn.SetDeadline(time.Now().Add(confirmIdle)) != nil {
			return
		}
		if _, err := io.ReadFull(conn, answer[:nonceSize]); err != nil {
			return
		}
		s.mu.Lock()
		term := s.term
		s.mu.Unlock()
		if term == nil {
			s.logger.Debug("raft is not up yet, no term to tell", "peer", peer)
			return
		}
		binary.BigEndian.PutUint64(answer[nonceSize:], term())
		if write(conn, answer[:]) != nil {
			return
		}
	}
}

// appliedUpTo waits until the state machine has applied the raft index commit.
// Above the barrier every entry is a command, so that its own count is exact;
// raft's AppliedIndex only says what has been queued for it.
func (l *Log) appliedUpTo(ctx context.Context, commit, barrier uint64) (uint64, error) {
	for {
		applied, changed := l.fsm.progress()
		if commit <= barrier || applied >= commit {
			return l.fsm.current().Index, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("confirm leadership: entry %d not applied yet: %w", commit, ctx.Err())
		}
	}
}
