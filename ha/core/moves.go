package core

import "time"

// The two sides of a move, as this host's part in it. What the log knows is
// in the package comment; here is what each side does meanwhile:
//
//	source       preparing: ExpectMove; wait, at most PrepareTimeout
//	             ready:     RunMove, once, if this daemon saw the move begin
//	             gateway ended, not committed: ResumeSource, FinishMove
//	             gateway ended, committed, not moved: MoveInDoubt, wait for the log
//	destination  preparing: PrepareIncoming, once; DestinationReady
//	             runs, or ran: FinishMove(moved)
//	             gateway ended, source gone or in doubt, and seen NOT to run
//	             afterwards: KillGuest, then ReportStopped

// source is this host's part as the source of m.
func (s *step) source(g Guest, m Move) {
	gt, known := s.local.gates[m.ID]
	_, there := s.observed(g.Name, g.Copy)
	switch {
	case known && gt.ended && gt.result.Outcome == Moved:
		s.finish(m, Moved, gt.result.Why)
	case !there && !s.anyCopy(g.Name) && !s.gateLive(m.ID):
		s.leave(g, "the source's copy has died")
	case m.Phase == InDoubt || s.gateLive(m.ID) || !there:
		// the log or the gateway decides
	case known && gt.ended:
		s.sourceEnded(g, m, gt)
	case m.Index <= s.lease.bootIndex:
		// A former daemon's gateway: end it and learn whether it committed.
		s.again(AbortMove{Move: m.ID, Why: "the daemon of the source was restarted"})
	default:
		s.sourceBegin(g, m)
	}
}

func (s *step) sourceBegin(g Guest, m Move) {
	c, _ := s.observed(g.Name, g.Copy)
	if m.Phase == Ready && c.Status == Running && s.mayStart(s.now) && !s.resuming(g) {
		s.local.gates[m.ID] = gate{started: true}
		s.emit(RunMove{Move: m, Epoch: g.Copy})
		return
	}
	if m.Phase == Preparing && c.Status == Running {
		s.again(ExpectMove{Move: m, Epoch: g.Copy})
	}
	if s.now-s.local.moveSeen[m.ID] > s.cfg.Timing.PrepareTimeout {
		// Given up for good: the log may take in the end at any time from now
		// on, and a gateway that ran meanwhile could commit an ended move.
		why := "one side was not ready within " + s.cfg.Timing.PrepareTimeout.String() + ": see the log of host " + m.To
		s.local.gates[m.ID] = gate{ended: true, endedAt: s.now, result: MoveResult{Move: m.ID, Outcome: Failed, Why: why}}
		s.finish(m, Failed, why)
	}
}

func (s *step) sourceEnded(g Guest, m Move, gt gate) {
	if gt.result.Committed {
		s.propose("in-doubt/"+m.ID, Command{MoveInDoubt: &MoveInDoubt{ID: m.ID, Why: clip(gt.result.Why)}})
		return
	}
	if c, _ := s.observed(g.Name, g.Copy); c.Status == Paused && s.leased(s.now) && !s.lease.lapsed {
		s.resume(g, m)
	}
	s.finish(m, gt.result.Outcome, gt.result.Why)
}

// destination is this host's part as the destination of m.
func (s *step) destination(g Guest, m Move) {
	gt, known := s.local.gates[m.ID]
	_, there := s.observed(g.Name, m.Epoch)
	switch {
	case s.local.ran[g.Name] == m.Epoch, gt.ended && gt.result.Outcome == Moved:
		s.finish(m, Moved, "host "+m.To+map[bool]string{true: " runs it", false: " ran it until its copy was lost"}[there])
	case there && s.mustEnd(g, m) && (s.gateLive(m.ID) || !known):
		s.again(AbortMove{Move: m.ID, Why: "the destination's copy is no longer wanted"})
	case there:
		if len(gt.addresses) > 0 && m.Phase == Preparing && s.mayStart(s.now) {
			s.propose("ready/"+m.ID, Command{DestinationReady: &DestinationReady{ID: m.ID, Addresses: gt.addresses}})
		}
	case s.anyCopy(g.Name):
		// being created, or an old copy is being killed
	case m.Phase == Preparing && m.Index > s.lease.bootIndex && s.local.used[g.Name] < m.Epoch && s.sourceMayRun(g, m):
		s.prepare(g, m)
	case !s.gateLive(m.ID):
		s.leave(g, "the destination's copy never ran and is gone"+because(gt.result.Why))
	default:
		s.again(AbortMove{Move: m.ID, Why: "the destination's copy has died"})
	}
}

func (s *step) prepare(g Guest, m Move) {
	if !s.mayStart(s.now) {
		return
	}
	s.burn(g.Name, m.Epoch)
	s.local.starting[g.Name] = start{epoch: m.Epoch}
	s.local.gates[m.ID] = gate{started: true}
	s.emit(PrepareIncoming{Move: m, NotAfter: s.lease.until})
}

// mustEnd: nothing good can come of this incoming copy any more, unless it
// should turn out to be running.
func (s *step) mustEnd(g Guest, m Move) bool {
	gt, known := s.local.gates[m.ID]
	return !known || gt.ended || m.Phase == InDoubt || !s.sourceMayRun(g, m)
}

func (s *step) sourceMayRun(g Guest, m Move) bool {
	_, may := g.MayRun[m.From]
	return may
}

// uselessIncoming says why the destination's copy must be killed. It must have
// been seen not to run AFTER its gateway had ended: before that the gateway
// could have continued it on a COMMIT.
func (s *step) uselessIncoming(c Observed, g Guest, m Move) string {
	gt, known := s.local.gates[m.ID]
	looked := known && gt.ended && gt.endedAt <= s.local.seenAt
	if !s.mustEnd(g, m) || !looked || gt.result.Outcome == Moved {
		return ""
	}
	if c.Status != Incoming && c.Status != Paused {
		return "" // it runs, or nobody knows
	}
	return "the move ended before it ran" + because(gt.result.Why)
}

// endStrayGateways ends gateways whose move is over in the log.
func (s *step) endStrayGateways() {
	for _, id := range sortedKeys(s.local.gates) {
		if m, ok := s.state.FindMove(id); ok && m.Phase == Finished && s.gateLive(id) {
			s.again(AbortMove{Move: id, Why: "the move has ended: " + string(m.Outcome)})
		}
	}
}

// moveResult takes in the end of a gateway. A source that did not commit is
// told to go on at once: its budget is running.
func (s *step) moveResult(e MoveResult) {
	gt := s.local.gates[e.Move]
	if gt.ended {
		return
	}
	gt.started, gt.ended, gt.endedAt, gt.result = true, true, s.now, e
	s.local.gates[e.Move] = gt
	m, ok := s.state.FindMove(e.Move)
	if !ok || m.Phase == Finished || m.Phase == InDoubt || m.From != s.cfg.Self || e.Committed || e.Outcome == Moved || e.Outcome == Refused {
		return
	}
	if g := s.state.Guests[m.Guest]; s.leased(s.now) && !s.lease.lapsed && g.Owner == s.cfg.Self {
		s.resume(g, m)
	}
}

// moveAsksToStop lets the source's gateway stop the guest only while the lease
// lasts for the whole budget, so that nothing but the move decides its end.
func (s *step) moveAsksToStop(e MoveAsksToStop) {
	m, ok := s.state.FindMove(e.Move)
	need := time.Duration(m.BudgetMs)*time.Millisecond + s.cfg.Timing.PetInterval
	switch {
	case !ok || m.Phase != Ready || m.From != s.cfg.Self || !s.gateLive(e.Move):
		s.emit(AbortMove{Move: e.Move, Why: "the log does not know this move as ready"})
	case !s.leased(s.now) || s.lease.lapsed || s.lease.until-s.now < need:
		s.emit(AbortMove{Move: e.Move, Why: "the host's lease does not cover the switchover"})
	default:
		if _, may := s.state.Guests[m.Guest].MayRun[m.To]; !may {
			s.emit(AbortMove{Move: e.Move, Why: "the destination has given up"})
			return
		}
		s.emit(AllowStop(e))
	}
}

func (s *step) finish(m Move, outcome Outcome, why string) {
	s.propose("finish/"+m.ID+"/"+string(outcome), Command{FinishMove: &FinishMove{ID: m.ID, Outcome: outcome, Why: clip(why)}})
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}
