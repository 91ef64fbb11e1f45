package core

import "fmt"

// reconcile compares the copies of this host with what the log says of them.
// Reads: state, lease, copies. Writes: starts, kills, resumes, proposals.
func (s *step) reconcile() {
	for _, c := range s.local.copies {
		if why := s.condemned(c); why != "" {
			s.again(KillGuest{Guest: c.Guest, Epoch: c.Epoch, Why: why})
		}
	}
	if !s.local.seen || !s.caughtUp() {
		return
	}
	s.endStrayGateways()
	for _, name := range sortedKeys(s.state.Guests) {
		g := s.state.Guests[name]
		m, moving := s.state.Moves[name]
		switch {
		case moving && m.From == s.cfg.Self:
			s.source(g, m)
		case moving && m.To == s.cfg.Self:
			s.destination(g, m)
		case g.Owner == s.cfg.Self && g.Wanted:
			s.owner(g)
		default:
			s.leave(g, "it is not to run here")
		}
	}
}

// condemned says why a copy must be killed; "" to leave it alone.
func (s *step) condemned(c Observed) string {
	if s.lease.lapsed {
		return "the host's lease ran out"
	}
	if !s.caughtUp() {
		return "" // the log may know more than this host does
	}
	g, known := s.state.Guests[c.Guest]
	switch {
	case !known:
		return "no such guest in this site"
	case c.Epoch > g.Epoch:
		return "" // created by a decision that this host has yet to see again
	case g.MayRun[s.cfg.Self] != c.Epoch:
		return fmt.Sprintf("the log gives this copy (epoch %d) no right to exist here", c.Epoch)
	}
	m, moving := s.state.Moves[c.Guest]
	switch {
	case moving && m.To == s.cfg.Self && c.Epoch == m.Epoch:
		return s.uselessIncoming(c, g, m)
	case moving && m.From == s.cfg.Self && c.Epoch == g.Copy:
		return ""
	case g.Owner != s.cfg.Self || c.Epoch != g.Copy:
		return "another copy is the one that is meant to run"
	case !g.Wanted:
		return "the guest is ordered to stop"
	}
	return ""
}

// owner: this host is to run the guest, and no move is on.
func (s *step) owner(g Guest) {
	if c, there := s.observed(g.Name, g.Copy); there {
		s.resumeAfterMove(g, c)
		return
	}
	if s.anyCopy(g.Name) || g.MayRun[s.cfg.Self] != g.Copy {
		return // an old copy is being killed, or this one is being started
	}
	// A copy is created once per epoch, and never for a decision that a
	// former daemon of this host may have carried out already.
	if g.CopyIndex > s.lease.bootIndex && s.local.used[g.Name] < g.Copy {
		s.start(g)
		return
	}
	s.restart(g)
}

func (s *step) start(g Guest) {
	if !s.mayStart(s.now) {
		return
	}
	t := s.local.tries[g.Name]
	if s.now-t.last > s.cfg.Timing.RetryMax {
		t.count = 0
	}
	s.local.tries[g.Name] = tries{count: t.count + 1, last: s.now}
	s.burn(g.Name, g.Copy)
	s.local.starting[g.Name] = start{epoch: g.Copy}
	s.emit(StartGuest{Guest: g.Name, Epoch: g.Copy, NotAfter: s.lease.until})
}

// restart asks the log for a new epoch on this host, after a pause that grows
// when the guest keeps dying; a host that is out of service gives it away.
func (s *step) restart(g Guest) {
	if s.state.Hosts[s.cfg.Self].Service != InService {
		s.leave(g, "its copy has died and the host is out of service")
		return
	}
	t := s.local.tries[g.Name]
	if t.count > 1 && s.now-t.last < s.cfg.Timing.backOff(t.count-1) {
		return
	}
	if !s.mayStart(s.now) {
		return
	}
	s.propose(key("restart", g.Name, g.Epoch), Command{Assign: &Assign{Guest: g.Name, To: s.cfg.Self, Epoch: g.Epoch,
		Reason: "no copy is alive on its host: started again there"}})
}

// leave tells the log that no copy is here, once that is so, for good.
func (s *step) leave(g Guest, why string) {
	tag, may := g.MayRun[s.cfg.Self]
	if !may || s.anyCopy(g.Name) {
		return
	}
	s.burn(g.Name, tag)
	s.propose(key("stopped", g.Name, tag), Command{ReportStopped: &ReportStopped{Host: s.cfg.Self, Guest: g.Name, Epoch: tag, Why: clip(why)}})
}

// resumeAfterMove continues a copy that a finished move left paused here,
// when the log has said that this copy is the one to run.
func (s *step) resumeAfterMove(g Guest, c Observed) {
	m, ok := s.state.FindMove(g.LastMove)
	if c.Status != Paused || !ok || m.From != s.cfg.Self || m.Outcome == Moved || s.gateLive(m.ID) || !s.mayStart(s.now) {
		return
	}
	s.resume(g, m)
}

// resumeWithin bounds one attempt to continue a source: 1-18 ms were measured.
const resumeWithin = repeatEvery

// resume gives out one attempt at a time; see resuming.
func (s *step) resume(g Guest, m Move) {
	s.again(ResumeSource{Guest: g.Name, Epoch: g.Copy, Move: m.ID, NotAfter: min(s.lease.until, s.now+resumeWithin)})
}

// resuming: an attempt to continue this copy may still be open. `cont` also
// restarts a source that has committed, so that no move begins meanwhile.
func (s *step) resuming(g Guest) bool {
	at, ok := s.sent[ResumeSource{Guest: g.Name, Epoch: g.Copy}.Key()]
	return ok && s.now <= at+resumeWithin
}
