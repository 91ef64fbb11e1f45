package raftlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bumpless/ha/core"

	"github.com/hashicorp/raft"
)

// ErrNotLeader: the command was not entered into the log, because this host
// does not lead. See NotLeaderError for who does.
var ErrNotLeader = errors.New("this host does not lead")

// ErrUnknownFate: the command may or may not be applied later on.
var ErrUnknownFate = errors.New("the command may or may not be carried out")

// NotLeaderError is ErrNotLeader with the leader's name, "" if unknown, and the
// number of the site's hosts.
type NotLeaderError struct {
	Leader string
	Hosts  int
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "this host does not lead, and " + NoLeader(e.Hosts)
	}
	return "this host does not lead, " + e.Leader + " does: send it there"
}

// NoLeader says what to look at when a site of so many hosts has no leader.
func NoLeader(hosts int) string {
	return fmt.Sprintf("no leader is known: are %d of the site's %d hosts up and connected?", hosts/2+1, hosts)
}

// Is makes errors.Is(err, ErrNotLeader) true.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// applyWait bounds how long a command may wait to be entered into the log.
const applyWait = 2 * time.Second

// Propose enters a command and waits until it has been applied here. The
// Result may be a refusal (see Result.Err). The error is ErrNotLeader when the
// command never entered the log, ErrUnknownFate when nobody can tell.
func (l *Log) Propose(ctx context.Context, c core.Command) (core.Result, error) {
	if term, _ := l.leads(); term == 0 {
		return core.Result{}, l.notLeading()
	}
	b, err := c.Encode()
	if err != nil {
		return core.Result{}, fmt.Errorf("propose: %w", err)
	}
	wait := applyWait
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(min(wait, time.Until(deadline)), time.Millisecond) // 0 would mean no limit
	}
	future := l.raft.Apply(b, wait)
	answered := make(chan error, 1)
	go func() { answered <- future.Error() }()
	select {
	case err = <-answered:
	case <-ctx.Done():
		return core.Result{}, fmt.Errorf("propose: %w: %w", ErrUnknownFate, ctx.Err())
	}
	switch {
	case err == nil:
		return future.Response().(core.Result), nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return core.Result{}, l.notLeading()
	}
	return core.Result{}, fmt.Errorf("propose: %w: %w", ErrUnknownFate, err)
}

// notLeading says who leads instead.
func (l *Log) notLeading() error { return &NotLeaderError{l.otherLeader(), len(l.cfg.Peers)} }

// otherLeader is the leader's name unless that is this host, which is not
// ready yet: forwarding to itself would loop.
func (l *Log) otherLeader() string {
	if id := l.Leader(); id != l.cfg.ID {
		return id
	}
	return ""
}

// StepDown hands the leadership to another host, before this one goes away.
func (l *Log) StepDown() error {
	if err := l.raft.LeadershipTransfer().Error(); err != nil {
		return fmt.Errorf("hand over leadership: %w", err)
	}
	return nil
}

func (l *Log) leads() (term, barrier uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready, l.barrier
}

func (l *Log) setReady(term, barrier uint64) {
	l.mu.Lock()
	l.ready, l.barrier = term, barrier
	l.mu.Unlock()
}

// watchLeadership announces leadership after a barrier, and its loss at once.
func (l *Log) watchLeadership() {
	defer l.done.Done()
	changes := l.raft.LeaderCh()
	retry := time.NewTimer(0)
	<-retry.C
	for {
		select {
		case <-l.stop:
			return
		case <-changes:
		case <-retry.C:
		}
		// LeaderCh keeps only the newest value, so that a loss followed by a
		// gain may show as one true: the term tells them apart.
		term, _ := l.leads()
		leading := l.raft.State() == raft.Leader
		if term != 0 && (!leading || l.raft.CurrentTerm() != term) {
			l.setReady(0, 0)
			l.hub.leader(Leadership{})
			term = 0
		}
		if leading && term == 0 && !l.becomeReady() {
			retry.Reset(l.cfg.Election / 4)
		}
	}
}

// becomeReady applies all that former leaders left, then announces. Propose is
// closed meanwhile, so that the last raft index afterwards is the barrier's.
func (l *Log) becomeReady() bool {
	term := l.raft.CurrentTerm()
	if err := l.raft.Barrier(4 * l.cfg.Election).Error(); err != nil {
		return l.raft.State() != raft.Leader // nothing to retry when no longer leading
	}
	if l.raft.State() != raft.Leader || l.raft.CurrentTerm() != term {
		return false
	}
	l.setReady(term, l.raft.LastIndex())
	l.hub.leader(Leadership{Leads: true, Term: term})
	return true
}
