package core

import (
	"fmt"
	"maps"
	"time"

	"bumpless/ha/plan"
)

// What only the leader does: declare silent hosts stopped on proof, place
// guests that run nowhere, and drain hosts. One automatic thing at a time for
// each guest, and one automatic move at a time for each source host: moves
// that share a link would break each other's estimates.

func (s *step) leadershipChanged(e LeadershipChanged) {
	if e.Leader == s.leader.leads && e.Term == s.leader.term {
		return
	}
	s.leader = newLeaderView()
	s.leader.leads, s.leader.term, s.leader.since = e.Leader, e.Term, s.now
	s.noteEnds()
}

func (s *step) lead() {
	if !s.leader.leads {
		return
	}
	for _, name := range sortedKeys(s.state.Hosts) {
		if name != s.cfg.Self && s.state.Hosts[name].Role == Server {
			s.watchHost(name)
		}
	}
	s.placeNext()
	for _, name := range sortedKeys(s.state.Hosts) {
		if s.state.Hosts[name].Service == Draining {
			s.drain(name)
		}
	}
}

// silence is how long a host has certainly not been granted a lease by anyone.
// A former leader's last grant was confirmed by a quorum before this leader
// was elected, so that its lease was asked for before that as well.
func (a Agent) silence(now time.Duration, host string) time.Duration {
	last := a.leader.since
	if at, ok := a.leader.lastGrant[host]; ok {
		last = max(last, at)
	}
	return now - last
}

// contact: the host was granted a lease, and it cannot have run out.
func (a Agent) contact(now time.Duration, host string) bool {
	at, ok := a.leader.lastGrant[host]
	return ok && now-at < a.cfg.Timing.Lease
}

// watchHost declares a silent host's copies dead, after the whole waiting
// period or on a fence device's reading.
func (s *step) watchHost(host string) {
	if _, pending := s.leader.pendingGone[host]; pending {
		s.proposeGone(host)
		return
	}
	copies := s.copiesOn(host)
	if len(copies) == 0 {
		return
	}
	silent := s.silence(s.now, host)
	if silent >= s.cfg.Timing.WaitingPeriod() {
		s.gone(HostGone{Host: host, Proof: Waited, Copies: copies,
			Detail: fmt.Sprintf("no lease was granted for %v, the waiting period is %v", silent.Round(time.Millisecond), s.cfg.Timing.WaitingPeriod())})
		return
	}
	if s.cfg.Fences && silent > s.cfg.Timing.Lease {
		s.again(Fence{Host: host, AskedAt: s.now})
	}
}

func (s *step) copiesOn(host string) map[string]uint64 {
	copies := map[string]uint64{}
	for name, g := range s.state.Guests {
		if tag, may := g.MayRun[host]; may {
			copies[name] = tag
		}
	}
	return copies
}

// gone declares the copies of a host dead. From here on the host gets no lease
// until the log has taken it, or another leadership has begun: what was proposed
// may be entered at any time until then, so that it must stay true.
func (s *step) gone(c HostGone) {
	c.Detail = clip(c.Detail)
	s.leader.pendingGone[c.Host] = c
	s.proposeGone(c.Host)
}

// proposeGone is repeated until the log has taken it: a proposal may get lost.
func (s *step) proposeGone(host string) {
	gone := s.leader.pendingGone[host]
	s.again(Propose{ProposalKey: "gone/" + host, LocalOnly: true,
		Command: Command{Version: CommandVersion, By: s.order(), Term: s.leader.term, HostGone: &gone}})
}

// fenceResult counts only when the host was granted nothing since this fence
// was asked: it may have been off, and on again. Fences may be slow, so that
// an answer is judged by its own question and not by the newest one.
func (s *step) fenceResult(e FenceResult) {
	if _, pending := s.leader.pendingGone[e.Host]; pending || !s.leader.leads || !e.Off || e.AskedAt < s.leader.since {
		return
	}
	if at, granted := s.leader.lastGrant[e.Host]; granted && at >= e.AskedAt {
		return
	}
	if copies := s.copiesOn(e.Host); len(copies) > 0 {
		s.gone(HostGone{Host: e.Host, Proof: FencedOff, Copies: copies, Detail: e.Detail})
	}
}

// settleGone lets a host ask again once its HostGone shows in the state.
func (s *step) settleGone() {
	for host, gone := range s.leader.pendingGone {
		open := false
		for guest, tag := range gone.Copies {
			if now, may := s.state.Guests[guest].MayRun[host]; may && now <= tag {
				open = true
			}
		}
		if !open {
			delete(s.leader.pendingGone, host)
		}
	}
}

// placeNext gives a guest that runs nowhere to a host. The next one has to wait
// for the log: its choice must see this one.
func (s *step) placeNext() {
	if s.stillGathering() {
		return
	}
	for _, name := range sortedKeys(s.state.Guests) {
		g := s.state.Guests[name]
		if _, moving := s.state.Moves[name]; moving || !g.Wanted || len(g.MayRun) > 0 {
			continue
		}
		e := s.choose(s.now, g)
		c := Command{Assign: &Assign{Guest: name, To: e.To, Epoch: g.Epoch, Reason: "it runs nowhere, and " + e.Why}}
		if e.To != "" && Check(s.state, Command{By: s.order(), Assign: c.Assign}).OK() {
			s.propose(key("place", name, g.Epoch), c)
			return
		}
	}
}

// stillGathering: this leader is new and some server has not been heard yet.
// Placing guests now would put all of them on the first host that speaks.
func (s *step) stillGathering() bool {
	if s.now-s.leader.since > 2*s.cfg.Timing.Lease {
		return false
	}
	for name, h := range s.state.Hosts {
		if h.Role == Server && h.Service == InService && !s.contact(s.now, name) {
			return true
		}
	}
	return false
}

// drain begins the next move off a host, if none is on.
func (s *step) drain(host string) {
	for _, m := range s.state.Moves {
		if m.From == host {
			return
		}
	}
	for _, name := range sortedKeys(s.state.Guests) {
		g := s.state.Guests[name]
		if g.Owner != host || !g.Wanted || len(g.MayRun) != 1 {
			continue
		}
		if wait, _ := s.held(s.now, g); wait {
			continue
		}
		e := s.choose(s.now, g)
		c := Command{Version: CommandVersion, By: s.order(), BeginMove: &BeginMove{ID: MoveID(g.Name, g.Epoch+1), Guest: g.Name, To: e.To, Epoch: g.Epoch, Reason: "drain"}}
		if e.To == "" || !Check(s.state, c).OK() {
			continue // `explain` says why; the next guest may do better
		}
		s.propose("begin/"+c.BeginMove.ID, c)
		return
	}
}

// MoveID is the id of the move that takes a guest to that epoch: no two moves
// share one, on whichever host it is made up.
func MoveID(guest string, epoch uint64) string { return fmt.Sprintf("%s-%d", guest, epoch) }

// held tells whether an automatic move of the guest must wait, and why: one
// that was refused waits until something changes, one that was rolled back or
// failed is repeated with a growing pause.
func (a Agent) held(now time.Duration, g Guest) (bool, plan.Term) {
	m, ok := a.state.FindMove(g.LastMove)
	if !ok || m.From != g.Owner || m.Outcome == Moved {
		return false, plan.Term{}
	}
	if m.Outcome == Refused {
		return a.state.Landscape <= m.Landscape, plan.Term{Name: "refused", Value: float64(g.Tries), Unit: "tries",
			Why: "move " + m.ID + " was refused: " + m.Why + "; not tried again until an order, a host or a guest changes (or drain is ordered again)"}
	}
	ended, seen := a.leader.moveEnded[m.ID]
	left := ended + a.cfg.Timing.backOff(g.Tries) - now
	return seen && left > 0, plan.Term{Name: "back-off", Value: left.Seconds(), Unit: "s",
		Why: fmt.Sprintf("move %s ended in %s: %s; try %d comes after a pause", m.ID, m.Outcome, m.Why, g.Tries+1)}
}

// noteEnds remembers when this leader first saw each finished move.
func (s *step) noteEnds() {
	if !s.leader.leads {
		return
	}
	past := map[string]bool{}
	for _, m := range s.state.Past {
		past[m.ID] = true
		if _, seen := s.leader.moveEnded[m.ID]; !seen {
			s.leader.moveEnded[m.ID] = s.now
		}
	}
	maps.DeleteFunc(s.leader.moveEnded, func(id string, _ time.Duration) bool { return !past[id] })
}
