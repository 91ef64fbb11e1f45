package core

import (
	"slices"
	"time"
)

// repeatEvery is the pause before an action whose effect has not been seen is
// given out again: longer than a healthy log needs (tens of milliseconds),
// shorter than anybody's patience.
const repeatEvery = time.Second

// Step takes in one event and says what is to be done. now is this host's
// monotonic clock and must not go back.
func Step(a Agent, now time.Duration, e Event) (Agent, []Action) {
	s := &step{Agent: a.clone(), now: now}
	s.take(e)
	s.checkLease()
	_, tick := e.(Tick)
	if s.cfg.Role == Server {
		s.reconcile()
		if l, elected := e.(LeadershipChanged); tick || elected && l.Leader {
			s.askLease(elected)
		}
	}
	s.lead()
	if tick {
		s.watchdog()
		s.forget()
	}
	return s.Agent, s.actions
}

// step is one call of Step at work.
type step struct {
	Agent
	now     time.Duration
	actions []Action
}

func (s *step) emit(act Action) {
	s.actions = append(s.actions, act)
}

// again emits an action unless it was given out less than repeatEvery ago.
func (s *step) again(act Action) bool {
	k := act.Key()
	if last, ok := s.sent[k]; ok && s.now-last < repeatEvery {
		return false
	}
	s.sent[k] = s.now
	s.emit(act)
	return true
}

func (s *step) propose(key string, c Command) bool {
	c.Version, c.By = CommandVersion, s.order()
	return s.again(Propose{ProposalKey: key, Command: c})
}

// forget drops what was sent long ago and gateways of forgotten moves.
func (s *step) forget() {
	for k, at := range s.sent {
		if s.now-at > time.Minute {
			delete(s.sent, k)
		}
	}
	for id, g := range s.local.gates {
		if _, known := s.state.FindMove(id); !known && g.ended {
			delete(s.local.gates, id)
		}
	}
	for id := range s.local.moveSeen {
		if m, _ := s.state.FindMove(id); m.Phase == "" || m.Phase == Finished {
			delete(s.local.moveSeen, id)
		}
	}
}

func (s *step) take(e Event) {
	switch e := e.(type) {
	case StateChanged:
		s.stateChanged(e.State)
	case LeadershipChanged:
		s.leadershipChanged(e)
	case LeaseRequested:
		s.leaseRequested(e)
	case LeaseReply:
		s.leaseReply(e)
	case GuestsObserved:
		s.guestsObserved(e)
	case GuestStarted:
		s.guestStarted(e)
	case IncomingReady:
		if g, ok := s.local.gates[e.Move]; ok && !g.ended {
			g.addresses = slices.Clone(e.Addresses)
			s.local.gates[e.Move] = g
		}
	case MoveAsksToStop:
		s.moveAsksToStop(e)
	case MoveResult:
		s.moveResult(e)
	case ProposalFailed:
		// Nothing is decided by it: what is still wanted is proposed again.
	case FenceResult:
		s.fenceResult(e)
	}
}

func (s *step) stateChanged(next State) {
	if next.Index < s.state.Index {
		return
	}
	s.state = next
	for _, m := range next.Moves {
		if _, seen := s.local.moveSeen[m.ID]; !seen {
			s.local.moveSeen[m.ID] = s.now
		}
	}
	s.settleGone()
	s.noteEnds()
}

// guestsObserved replaces what is known of copies. A start that was answered
// before the looking began is settled by it, one way or the other.
func (s *step) guestsObserved(e GuestsObserved) {
	if s.local.seen && e.Asked < s.local.seenAt {
		return
	}
	s.local.seen, s.local.seenAt = true, e.Asked
	s.local.copies = slices.Clone(e.Copies)
	for guest, st := range s.local.starting {
		if st.answered && st.at <= e.Asked {
			delete(s.local.starting, guest)
		}
	}
	for _, c := range e.Copies {
		s.burn(c.Guest, c.Epoch)
		if c.Status == Running {
			s.local.ran[c.Guest] = max(s.local.ran[c.Guest], c.Epoch)
		}
	}
}

func (s *step) guestStarted(e GuestStarted) {
	st, ok := s.local.starting[e.Guest]
	if !ok || st.epoch != e.Epoch {
		return
	}
	if e.Err != "" {
		delete(s.local.starting, e.Guest)
		return
	}
	st.answered, st.at = true, s.now
	s.local.starting[e.Guest] = st
}
