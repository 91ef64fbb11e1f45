package core

import "time"

// checkLease turns a lost lease into lapsed, and ends lapsed when the last
// copy is dead. A daemon that never had a lease waits for one as long as a
// lease lasts before it kills what a former daemon left (see the package comment).
func (s *step) checkLease() {
	lost := !s.leased(s.now) && (s.lease.granted || s.now-s.born >= s.cfg.Timing.Lease)
	if lost {
		s.lease.lapsed = true
	}
	if s.lease.lapsed && !s.alive() && s.leased(s.now) {
		s.lease.lapsed = false
	}
}

// askLease asks at every AskInterval; a request that is not answered is repeated
// on the next tick, since the leader may have died with it. A host that is the
// leader as of now asks at once: its election may have taken most of its lease.
func (s *step) askLease(elected bool) {
	if s.lease.asked && s.now < s.lease.nextAsk && !elected {
		return
	}
	s.lease.asked, s.lease.lastAsk, s.lease.nextAsk = true, s.now, s.now
	s.emit(AskLease{AskedAt: s.now})
}

// leaseReply counts the lease from the moment of asking: what the network and
// the leader took is the asker's loss.
func (s *step) leaseReply(e LeaseReply) {
	if !s.lease.asked || e.AskedAt > s.lease.lastAsk || e.AskedAt < s.born {
		return // not an answer to this daemon
	}
	if !e.Granted {
		return // asked again soon: the leader may be being elected
	}
	if e.AskedAt+s.cfg.Timing.Lease <= s.now {
		return // ran out on its way
	}
	s.checkLease() // a lease lost just before must be seen before it is renewed
	if !s.lease.granted {
		s.lease.granted, s.lease.bootIndex = true, e.Index
	}
	s.lease.nextAsk = max(s.lease.nextAsk, e.AskedAt+s.cfg.Timing.AskInterval())
	s.lease.needIndex = max(s.lease.needIndex, e.Index)
	s.lease.until = max(s.lease.until, e.AskedAt+s.cfg.Timing.Lease)
}

// watchdog pets or withholds, once per tick.
func (s *step) watchdog() {
	limit, why := s.mayPet(s.now)
	if why != "" {
		s.emit(WithholdWatchdog{Why: why})
		return
	}
	s.emit(PetWatchdog{NotAfter: limit})
}

// mayPet gives the limit of a pet (0: none), or why there must be none.
func (a Agent) mayPet(now time.Duration) (limit time.Duration, why string) {
	switch {
	case !a.local.seen:
		return 0, "the guests of a former daemon have not been looked for yet"
	case !a.alive() && !a.leased(now):
		return 0, ""
	case a.alive() && a.lease.lapsed:
		return 0, "the lease was lost and guests are still alive"
	case !a.leased(now):
		return 0, "guests are alive and no lease has been granted yet"
	}
	// With a lease also when no copy is alive: one may be started before this
	// order is carried out.
	return a.lease.until, ""
}

// leaseRequested (at the leader) grants a lease that is confirmed by a quorum
// and that no open proof contradicts.
func (s *step) leaseRequested(e LeaseRequested) {
	refuse := func(why string) { s.emit(RefuseLease{Host: e.Host, AskedAt: e.AskedAt, Why: why}) }
	h, known := s.state.Hosts[e.Host]
	_, pending := s.leader.pendingGone[e.Host]
	switch {
	case !s.leader.leads || !e.Verified:
		refuse(s.cfg.Self + " does not lead a quorum")
	case !known || h.Role != Server:
		refuse("no server is named " + e.Host)
	case pending:
		refuse("host " + e.Host + " is being declared stopped")
	default:
		s.leader.lastGrant[e.Host] = s.now
		s.emit(GrantLease{Host: e.Host, AskedAt: e.AskedAt, Index: max(e.Index, s.state.Index)})
	}
}
