package core

import (
	"fmt"
	"maps"
)

// roleMayInsist is the role that may move a guest whose partner is not proved
// to be running: the duties of IEC 62351-8's ENGINEER include settings that
// affect protection, an OPERATOR's do not.
const roleMayInsist = "ENGINEER"

func (s *State) assign(c Assign, by Order) (uint64, *Refusal) {
	g, ok := s.Guests[c.Guest]
	if !ok {
		return 0, unknownGuest(c.Guest)
	}
	if c.Epoch != g.Epoch {
		return 0, staleEpoch(g, c.Epoch)
	}
	if m, moving := s.Moves[c.Guest]; moving {
		return 0, refuse(Moving, "guest %s is being moved from %s to %s (move %s)", c.Guest, m.From, m.To, m.ID)
	}
	if !g.Wanted {
		return 0, refuse(NotRunning, "guest %s is ordered to be stopped", c.Guest)
	}
	for _, host := range sortedKeys(g.MayRun) {
		if host != c.To {
			return 0, refuse(MayStillRun, "guest %s may still run on host %s: it is started elsewhere only on proof", c.Guest, host)
		}
		if by.Name != c.To {
			return 0, refuse(MayStillRun, "guest %s may still run on host %s: only that host itself can start it anew there", c.Guest, host)
		}
	}
	if refusal := g.diskAllows(c.To); refusal != nil {
		return 0, refusal
	}
	if refusal := s.canTake(c.To, g, false); refusal != nil {
		return 0, refusal
	}
	g.Epoch++
	g.diskIsOn(c.To)
	g.Owner, g.Copy, g.CopyIndex = c.To, g.Epoch, s.Index
	g.MayRun = map[string]uint64{c.To: g.Copy}
	g.LastMove, g.Tries = "", 0
	s.Guests[c.Guest] = g
	s.Landscape++
	s.note(by, Record{Guest: c.Guest, Host: c.To, What: fmt.Sprintf("guest %s is to start on host %s (epoch %d): %s", c.Guest, c.To, g.Epoch, c.Reason)})
	return g.Epoch, nil
}

func (s *State) beginMove(c BeginMove, by Order) (uint64, *Refusal) {
	g, ok := s.Guests[c.Guest]
	if !ok {
		return 0, unknownGuest(c.Guest)
	}
	if refusal := s.canLeave(g, c, by); refusal != nil {
		return 0, refusal
	}
	if c.Epoch != g.Epoch {
		return 0, staleEpoch(g, c.Epoch)
	}
	if refusal := s.canTake(c.To, g, true); refusal != nil {
		return 0, refusal
	}
	g.Epoch++
	g.MayRun[c.To] = g.Epoch
	s.Guests[c.Guest] = g
	s.Moves[c.Guest] = Move{ID: c.ID, Guest: c.Guest, From: g.Owner, To: c.To, Epoch: g.Epoch, Index: s.Index,
		BudgetMs: g.BudgetMs, Phase: Preparing, Reason: c.Reason, By: by}
	s.note(by, Record{Guest: c.Guest, Move: c.ID, What: fmt.Sprintf("move %s of guest %s from %s to %s begins: %s", c.ID, c.Guest, g.Owner, c.To, c.Reason)})
	return g.Epoch, nil
}

// canLeave: the guest runs in exactly one, other place and may be moved now.
func (s *State) canLeave(g Guest, c BeginMove, by Order) *Refusal {
	if m, moving := s.Moves[g.Name]; moving {
		return refuse(Moving, "guest %s is being moved from %s to %s (move %s): wait for its end", g.Name, m.From, m.To, m.ID)
	}
	if _, used := s.FindMove(c.ID); used {
		return refuse(Stale, "move %s has already been", c.ID)
	}
	if g.Owner == c.To && c.To != "" {
		return refuse(AlreadyThere, "guest %s is already on host %s", g.Name, c.To)
	}
	if tag, there := g.MayRun[g.Owner]; !g.Wanted || !there || tag != g.Copy || len(g.MayRun) != 1 {
		return refuse(NotRunning, "guest %s does not run in exactly one known place, so it cannot be moved; see `bumpless explain %s`", g.Name, g.Name)
	}
	return s.partnersAllow(g, c, by)
}

func (s *State) partnersAllow(g Guest, c BeginMove, by Order) *Refusal {
	if c.Insist && by.Role != roleMayInsist {
		return refuse(NotAllowed, "%s has the role %s: to insist on a move needs the role %s", by.Name, by.Role, roleMayInsist)
	}
	for _, p := range s.partners(g) {
		if m, moving := s.Moves[p.Name]; moving {
			return refuse(GroupMoving, "not now: %s, the partner of guest %s in group %s, is being moved (move %s); order it again when that move has ended", p.Name, g.Name, g.Group, m.ID)
		}
		if p.Wanted && len(p.MayRun) == 0 && !c.Insist {
			return refuse(PartnerDown, "guest %s stays: its partner %s in group %s does not run; see `bumpless explain %s`, and an %s may insist (--insist)", g.Name, p.Name, g.Group, p.Name, roleMayInsist)
		}
	}
	return nil
}

// canTake: host is a server in service, with no partner of g, and with room.
func (s *State) canTake(host string, g Guest, room bool) *Refusal {
	h, ok := s.Hosts[host]
	if !ok {
		return unknownHost(host)
	}
	if h.Role != Server {
		return refuse(NotInService, "host %s is a %s and runs no guests", host, h.Role)
	}
	if h.Service != InService {
		return refuse(NotInService, "host %s is out of service (%s, by %s): `bumpless resume %s` first", host, h.Service, h.By.Name, host)
	}
	for _, p := range s.partners(g) {
		if _, there := p.MayRun[host]; there {
			return refuse(GroupShared, "guest %s cannot go to host %s: its partner %s of group %s is there", g.Name, host, p.Name, g.Group)
		}
	}
	if free := s.FreeMiB(host, g.Name); h.MemoryMiB > 0 && free < g.MemoryMiB {
		return refuse(NoRoom, "host %s has %d MiB free for guests, guest %s needs %d MiB", host, free, g.Name, g.MemoryMiB)
	}
	return nil
}

// FreeMiB is the guest memory left on a host when the guest named except is
// not counted, in MiB; negative when the host holds too much.
func (s State) FreeMiB(host, except string) int {
	free := s.Hosts[host].MemoryMiB
	for _, g := range s.Guests {
		if _, there := g.MayRun[host]; there && g.Name != except {
			free -= g.MemoryMiB
		}
	}
	return free
}

// partners are the other guests of g's redundancy group, by name.
func (s State) partners(g Guest) []Guest {
	var list []Guest
	for _, name := range sortedKeys(s.Guests) {
		if p := s.Guests[name]; g.Group != "" && p.Group == g.Group && name != g.Name {
			list = append(list, p)
		}
	}
	return list
}

func (s *State) destinationReady(c DestinationReady, by Order) *Refusal {
	m, refusal := s.active(c.ID)
	if refusal != nil {
		return refusal
	}
	if by.Name != m.To {
		return refuse(NotAllowed, "%s is not the destination of move %s", by.Name, c.ID)
	}
	if m.Phase != Preparing {
		return refuse(Stale, "move %s is %s already", c.ID, m.Phase)
	}
	m.Phase, m.Addresses = Ready, append([]string(nil), c.Addresses...)
	s.Moves[m.Guest] = m
	s.note(by, Record{Guest: m.Guest, Move: m.ID, What: fmt.Sprintf("move %s: host %s is ready to receive", m.ID, m.To)})
	return nil
}

func (s *State) finishMove(c FinishMove, by Order) *Refusal {
	m, refusal := s.active(c.ID)
	if refusal != nil {
		return refusal
	}
	source, destination := by.Name == m.From, by.Name == m.To
	switch c.Outcome {
	case Moved:
		if !source && !destination {
			return refuse(NotAllowed, "%s takes no part in move %s", by.Name, c.ID)
		}
	case RolledBack, Refused, Failed:
		if !source {
			return refuse(NotAllowed, "only the source %s can say that move %s was %s", m.From, c.ID, c.Outcome)
		}
		if m.Phase == InDoubt {
			return refuse(Stale, "move %s was committed: the log decides it", c.ID)
		}
		// A host that restarted has lost its commit marker with its copy, so
		// that its word about COMMIT counts only while the copy is there.
		if _, there := s.Guests[m.Guest].MayRun[m.From]; !there {
			return refuse(Stale, "source %s of move %s has lost its copy: the destination decides", m.From, c.ID)
		}
	default:
		return refuse(Malformed, "move %s cannot end in %q", c.ID, c.Outcome)
	}
	s.endMove(m, c.Outcome, c.Why, m.Phase == InDoubt, by)
	return nil
}

func (s *State) moveInDoubt(c MoveInDoubt, by Order) *Refusal {
	m, refusal := s.active(c.ID)
	if refusal != nil {
		return refusal
	}
	if by.Name != m.From {
		return refuse(NotAllowed, "%s is not the source of move %s", by.Name, c.ID)
	}
	if m.Phase == InDoubt {
		return nil
	}
	m.Phase = InDoubt
	s.Moves[m.Guest] = m
	s.note(by, Record{Guest: m.Guest, Move: m.ID, What: fmt.Sprintf("move %s was committed and no answer came back; guest %s waits for proof: %s", m.ID, m.Guest, c.Why)})
	s.lostSide(m.Guest, "", c.Why, by)
	return nil
}

// lostSide ends the guest's move where the loss of one side's copy decides it.
//
//	source lost, destination lost   -> failed: no copy is left, it is started anew
//	destination lost, preparing     -> refused: the source's gateway never began
//	destination lost, in doubt      -> rolled back, late: the source may resume
//	destination lost, ready         -> the source decides: it alone knows whether it sent COMMIT
//	source lost                     -> the destination decides: it alone knows whether it runs
func (s *State) lostSide(guest, host, why string, by Order) {
	m, moving := s.Moves[guest]
	if !moving {
		return
	}
	g := s.Guests[guest]
	_, from := g.MayRun[m.From]
	_, to := g.MayRun[m.To]
	switch {
	case !from && !to:
		s.endMove(m, Failed, "both copies are gone: "+why, m.Phase == InDoubt, by)
	case from && !to && m.Phase == Preparing:
		s.endMove(m, Refused, "the destination could not prepare: "+why, false, by)
	case from && !to && m.Phase == InDoubt:
		s.endMove(m, RolledBack, "proved that the destination does not run: "+why, true, by)
	}
}

// endMove closes a move and says whose copy is meant to run.
func (s *State) endMove(m Move, outcome Outcome, why string, late bool, by Order) {
	g := s.Guests[m.Guest]
	g.MayRun = maps.Clone(g.MayRun)
	if outcome == Moved {
		// The source sent COMMIT, so its copy never resumes by itself.
		g.Owner, g.Copy, g.CopyIndex = m.To, m.Epoch, s.Index
		g.diskIsOn(m.To)
		delete(g.MayRun, m.From)
		g.Tries = 0
	} else {
		// COMMIT was never sent, or the destination is proved dead: either
		// way the destination's copy never runs again.
		delete(g.MayRun, m.To)
		g.Tries++
	}
	if outcome == Moved || outcome == Failed {
		s.Landscape++
	}
	g.LastMove = m.ID
	s.Guests[m.Guest] = g
	m.Phase, m.Outcome, m.Why, m.Late, m.Landscape = Finished, outcome, clip(why), late, s.Landscape
	delete(s.Moves, m.Guest)
	s.Past = append(s.Past, m)
	if len(s.Past) > MaxPastMoves {
		s.Past = s.Past[len(s.Past)-MaxPastMoves:]
	}
	s.note(by, Record{Guest: m.Guest, Move: m.ID, What: fmt.Sprintf("move %s of guest %s from %s to %s: %s: %s", m.ID, m.Guest, m.From, m.To, outcome, why)})
}

func (s *State) active(id string) (Move, *Refusal) {
	m, ok := s.FindMove(id)
	if !ok {
		return m, refuse(Unknown, "no move is named %q", id)
	}
	if m.Phase == Finished {
		return m, refuse(Stale, "move %s has ended: %s", id, m.Outcome)
	}
	return m, nil
}

func staleEpoch(g Guest, epoch uint64) *Refusal {
	return refuse(Stale, "guest %s is at epoch %d, the command was meant for epoch %d: look again and repeat it", g.Name, g.Epoch, epoch)
}
