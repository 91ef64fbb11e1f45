package core

import (
	"fmt"
	"slices"
	"strings"
)

// Apply carries out one command in log order. It never changes s; it never
// fails otherwise than by a Result with a Code. Two hosts that apply the same
// commands hold equal states.
func Apply(s State, c Command) (State, Result) {
	before := s.Index
	next := s.Clone()
	next.Index = before + 1
	epoch, refusal := next.do(c)
	if refusal != nil {
		next = s.Clone()
		next.Index = before + 1
		return next, Result{Version: CommandVersion, Code: refusal.Code, Text: refusal.Text, Index: next.Index}
	}
	next.settle(c.By)
	return next, Result{Version: CommandVersion, Index: next.Index, Epoch: epoch}
}

// ApplyEntry is Apply for an entry that was made in the given term of the log:
// a command that is bound to another term is refused.
func ApplyEntry(s State, c Command, term uint64) (State, Result) {
	if c.Term == 0 || c.Term == term {
		return Apply(s, c)
	}
	s, r := Apply(s, Command{})
	r.Code, r.Text = Stale, fmt.Sprintf("the command was meant for term %d of the log and came in term %d", c.Term, term)
	return s, r
}

// Check tells what Apply would answer, for a dry run.
func Check(s State, c Command) Result {
	_, r := Apply(s, c)
	return r
}

func (s *State) do(c Command) (uint64, *Refusal) {
	if err := c.check(); err != nil {
		return 0, err
	}
	switch {
	case c.RegisterHost != nil:
		return 0, s.registerHost(*c.RegisterHost, c.By)
	case c.RegisterGuest != nil:
		return 0, s.registerGuest(*c.RegisterGuest, c.By)
	case c.SetWanted != nil:
		return 0, s.setWanted(*c.SetWanted, c.By)
	case c.SetMaintenance != nil:
		return 0, s.setMaintenance(*c.SetMaintenance, c.By)
	case c.Assign != nil:
		return s.assign(*c.Assign, c.By)
	case c.BeginMove != nil:
		return s.beginMove(*c.BeginMove, c.By)
	case c.DestinationReady != nil:
		return 0, s.destinationReady(*c.DestinationReady, c.By)
	case c.FinishMove != nil:
		return 0, s.finishMove(*c.FinishMove, c.By)
	case c.MoveInDoubt != nil:
		return 0, s.moveInDoubt(*c.MoveInDoubt, c.By)
	case c.ReportStopped != nil:
		return 0, s.reportStopped(*c.ReportStopped, c.By)
	case c.HostGone != nil:
		return 0, s.hostGone(*c.HostGone, c.By)
	}
	return 0, refuse(Malformed, "the command is empty, or of a kind that this release does not know: update this host")
}

func refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{code, fmt.Sprintf(format, args...)}
}

// note adds a record to the ring.
func (s *State) note(by Order, r Record) {
	r.Index, r.By, r.What = s.Index, by, clip(r.What)
	s.Records = append(s.Records, r)
	if len(s.Records) > MaxRecords {
		s.Records = s.Records[len(s.Records)-MaxRecords:]
	}
}

// clip makes any text one that the log takes: UTF-8 of at most MaxText bytes.
// What QEMU or a gateway said may be anything.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= MaxText {
		return text
	}
	return strings.ToValidUTF8(text[:MaxText-3], "") + "..." // a cut rune is dropped
}

func (s *State) registerHost(c RegisterHost, by Order) *Refusal {
	if c.Role != Server && c.Role != Witness {
		return refuse(Malformed, "host %s has the role %q; a host is a server or a witness", c.Name, c.Role)
	}
	if c.MemoryMiB < 0 {
		return refuse(Malformed, "host %s has %d MiB for guests", c.Name, c.MemoryMiB)
	}
	h, known := s.Hosts[c.Name]
	if known && h.Role == c.Role && h.MemoryMiB == c.MemoryMiB {
		return nil
	}
	if !known && len(s.Hosts) >= MaxHosts {
		return refuse(Full, "host %s is one more than the %d that a site may have", c.Name, MaxHosts)
	}
	if !known {
		h = Host{Name: c.Name, Service: InService, By: by}
	}
	h.Role, h.MemoryMiB = c.Role, c.MemoryMiB
	s.Hosts[c.Name] = h
	s.Landscape++
	s.note(by, Record{Host: c.Name, What: fmt.Sprintf("%s %s registered", c.Role, c.Name)})
	return nil
}

func (s *State) registerGuest(c RegisterGuest, by Order) *Refusal {
	if c.MemoryMiB < 0 || c.BudgetMs < 0 {
		return refuse(Malformed, "guest %s has %d MiB and a budget of %d ms; neither may be negative", c.Name, c.MemoryMiB, c.BudgetMs)
	}
	if len(c.Name) > MaxGuestName {
		return refuse(Malformed, "guest name %q has more than %d bytes", c.Name, MaxGuestName)
	}
	g, known := s.Guests[c.Name]
	if known && g.GuestSpec == c.GuestSpec {
		return nil
	}
	if !known && len(s.Guests) >= MaxGuests {
		return refuse(Full, "guest %s is one more than the %d that a site may have", c.Name, MaxGuests)
	}
	if !known {
		g = Guest{Wanted: c.Wanted, MayRun: map[string]uint64{}}
	}
	g.GuestSpec = c.GuestSpec
	if g.DiskHost == "" || !g.LocalDisk {
		g.diskIsOn(g.Owner)
	}
	s.Guests[c.Name] = g
	s.Landscape++
	s.note(by, Record{Guest: c.Name, What: fmt.Sprintf("guest %s registered, budget %d ms", c.Name, c.BudgetMs)})
	return nil
}

func (s *State) setWanted(c SetWanted, by Order) *Refusal {
	g, ok := s.Guests[c.Guest]
	if !ok {
		return unknownGuest(c.Guest)
	}
	if _, moving := s.Moves[c.Guest]; moving && !c.Wanted {
		return refuse(Moving, "guest %s is being moved: stop it when the move has ended", c.Guest)
	}
	if g.Wanted == c.Wanted {
		return nil
	}
	g.Wanted = c.Wanted
	s.Guests[c.Guest] = g
	s.Landscape++
	s.note(by, Record{Guest: c.Guest, What: fmt.Sprintf("guest %s ordered to %s", c.Guest, map[bool]string{true: "run", false: "stop"}[c.Wanted])})
	return nil
}

func (s *State) setMaintenance(c SetMaintenance, by Order) *Refusal {
	h, ok := s.Hosts[c.Host]
	if !ok {
		return unknownHost(c.Host)
	}
	if c.On && h.Service == Draining {
		s.Landscape++ // asked again: refused moves are tried again
		s.note(by, Record{Host: c.Host, What: "host " + c.Host + " asked again to drain"})
		return nil
	}
	if c.On == (h.Service != InService) {
		return nil
	}
	h.Service, h.By = InService, by
	what := "host " + c.Host + " back in service"
	if c.On {
		h.Service = Draining
		what = "host " + c.Host + " taken out of service: its guests are moved away"
	}
	if c.Reason != "" {
		what += " (" + c.Reason + ")"
	}
	s.Hosts[c.Host] = h
	s.Landscape++
	s.note(by, Record{Host: c.Host, What: what})
	return nil
}

func (s *State) reportStopped(c ReportStopped, by Order) *Refusal {
	if by.Name != c.Host {
		return refuse(NotAllowed, "%s cannot say that host %s has stopped a guest: only the host itself can", by.Name, c.Host)
	}
	g, ok := s.Guests[c.Guest]
	if !ok {
		return unknownGuest(c.Guest)
	}
	tag, there := g.MayRun[c.Host]
	if !there {
		return nil // said before, or by other means
	}
	if c.Epoch < tag {
		return refuse(Stale, "host %s stopped guest %s up to epoch %d, but a copy of epoch %d may exist there", c.Host, c.Guest, c.Epoch, tag)
	}
	delete(g.MayRun, c.Host)
	s.note(by, Record{Guest: c.Guest, Host: c.Host, What: fmt.Sprintf("no copy of guest %s on host %s: %s", c.Guest, c.Host, c.Why)})
	s.lostSide(c.Guest, c.Host, c.Why, by)
	return nil
}

func (s *State) hostGone(c HostGone, by Order) *Refusal {
	if _, ok := s.Hosts[c.Host]; !ok {
		return unknownHost(c.Host)
	}
	if c.Proof != Waited && c.Proof != FencedOff {
		return refuse(Malformed, "%q is no proof that host %s has stopped", c.Proof, c.Host)
	}
	s.note(by, Record{Host: c.Host, What: fmt.Sprintf("host %s proved stopped by %s: %s", c.Host, c.Proof, c.Detail)})
	for _, name := range sortedKeys(c.Copies) { // sorted: records must be equal on all hosts
		g, ok := s.Guests[name]
		tag, there := g.MayRun[c.Host]
		if !ok || !there || tag > c.Copies[name] {
			continue
		}
		delete(g.MayRun, c.Host)
		s.lostSide(name, c.Host, fmt.Sprintf("host %s is gone (%s)", c.Host, c.Proof), by)
	}
	return nil
}

// settle derives what follows from the command: an emptied host is in
// maintenance for good, a guest that can run nowhere has no owner.
func (s *State) settle(by Order) {
	for _, name := range sortedKeys(s.Guests) {
		g := s.Guests[name]
		if _, moving := s.Moves[name]; !moving && len(g.MayRun) == 0 && g.Owner != "" {
			g.Owner = ""
			s.Guests[name] = g
		}
	}
	for _, name := range sortedKeys(s.Hosts) {
		h := s.Hosts[name]
		if h.Service == Draining && s.empty(name) {
			h.Service = Maintenance
			s.Hosts[name] = h
			s.note(by, Record{Host: name, What: "host " + name + " is empty"})
		}
	}
}

// empty: no copy of any guest may exist on the host.
func (s *State) empty(host string) bool {
	for _, g := range s.Guests {
		if _, may := g.MayRun[host]; may {
			return false
		}
	}
	return true
}

func unknownGuest(name string) *Refusal {
	return refuse(Unknown, "no guest is named %q: see `bumpless guests`", name)
}

func unknownHost(name string) *Refusal {
	return refuse(Unknown, "no host is named %q: see `bumpless status`", name)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
