package core

import (
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Bounds on encoded values, checked before anything is decoded.
const (
	MaxCommandBytes = 64 << 10
	MaxStateBytes   = 8 << 20
)

// Encode returns the JSON of a command, with the present version.
func (c Command) Encode() ([]byte, error) {
	c.Version = CommandVersion
	b, err := json.Marshal(c)
	if err == nil && len(b) > MaxCommandBytes {
		err = fmt.Errorf("encode command: %d bytes, at most %d", len(b), MaxCommandBytes)
	}
	return b, err
}

// DecodeCommand reads what Encode wrote. Fields it does not know are ignored:
// a command that consists of nothing known is refused by Apply, equally on
// every host of this release.
func DecodeCommand(b []byte) (Command, error) {
	var c Command
	if len(b) > MaxCommandBytes {
		return c, fmt.Errorf("decode command: %d bytes, at most %d", len(b), MaxCommandBytes)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return Command{}, fmt.Errorf("decode command: %w", err)
	}
	return c, nil
}

// Encode returns the JSON of a state. Equal states encode to equal bytes.
func (s State) Encode() ([]byte, error) {
	s.Version = StateVersion
	return json.Marshal(s)
}

// DecodeState reads what State.Encode wrote, of this version.
func DecodeState(b []byte) (State, error) {
	if len(b) > MaxStateBytes {
		return State{}, fmt.Errorf("decode state: %d bytes, at most %d", len(b), MaxStateBytes)
	}
	s := NewState()
	s.Version = 0 // must be said
	if err := json.Unmarshal(b, &s); err != nil {
		return State{}, fmt.Errorf("decode state: %w", err)
	}
	if s.Version != StateVersion {
		return State{}, fmt.Errorf("decode state: version %d, this release reads %d: update this host", s.Version, StateVersion)
	}
	return s.whole(), nil
}

// whole replaces maps that were null or left out by empty ones.
func (s State) whole() State {
	if s.Hosts == nil {
		s.Hosts = map[string]Host{}
	}
	if s.Moves == nil {
		s.Moves = map[string]Move{}
	}
	if s.Guests == nil {
		s.Guests = map[string]Guest{}
	}
	for name, g := range s.Guests {
		if g.MayRun == nil {
			g.MayRun = map[string]uint64{}
			s.Guests[name] = g
		}
	}
	return s
}

// check refuses a command that is not one single, bounded, well-named thing.
func (c Command) check() *Refusal {
	if c.Version > CommandVersion {
		return refuse(Malformed, "the command has version %d, this release knows up to %d: update this host", c.Version, CommandVersion)
	}
	kinds := 0
	for _, set := range []bool{c.RegisterHost != nil, c.RegisterGuest != nil, c.SetWanted != nil, c.SetMaintenance != nil,
		c.Assign != nil, c.BeginMove != nil, c.DestinationReady != nil, c.FinishMove != nil, c.MoveInDoubt != nil,
		c.ReportStopped != nil, c.HostGone != nil} {
		if set {
			kinds++
		}
	}
	if kinds > 1 {
		return refuse(Malformed, "the command says %d things at once", kinds)
	}
	names, texts := c.strings()
	for _, n := range names {
		if !goodName(n) {
			return refuse(Malformed, "%.80q is no name: 1 to %d printable bytes without spaces", n, MaxName)
		}
	}
	for _, t := range texts {
		if len(t.is) > MaxText || !utf8.ValidString(t.is) {
			return refuse(Malformed, "%s has %d bytes: want at most %d bytes of UTF-8", t.what, len(t.is), MaxText)
		}
	}
	return nil
}

func goodName(n string) bool {
	if n == "" || len(n) > MaxName || !utf8.ValidString(n) {
		return false
	}
	for _, r := range n {
		if !unicode.IsPrint(r) || r == ' ' {
			return false
		}
	}
	return true
}

// text is free, and named for the one who gave it.
type text struct{ what, is string }

// Free texts in the operator's terms.
const (
	theReason  = "the reason (--reason)"
	theWhy     = "the cause"
	theAddress = "an address"
)

// strings lists the command's names (must not be empty) and free texts.
func (c Command) strings() (names []string, texts []text) {
	texts = []text{{"the caller's name", c.By.Name}, {"the caller's role", c.By.Role}}
	switch {
	case c.RegisterHost != nil:
		names = []string{c.RegisterHost.Name}
	case c.RegisterGuest != nil:
		names = []string{c.RegisterGuest.Name}
		texts = append(texts, text{"the guest's specification", c.RegisterGuest.Spec}, text{"its group", c.RegisterGuest.Group}, text{"its preferred host", c.RegisterGuest.Preferred})
	case c.SetWanted != nil:
		names = []string{c.SetWanted.Guest}
	case c.SetMaintenance != nil:
		names, texts = []string{c.SetMaintenance.Host}, append(texts, text{theReason, c.SetMaintenance.Reason})
	case c.Assign != nil:
		names, texts = []string{c.Assign.Guest, c.Assign.To}, append(texts, text{theWhy, c.Assign.Reason})
	case c.BeginMove != nil:
		names, texts = []string{c.BeginMove.ID, c.BeginMove.Guest, c.BeginMove.To}, append(texts, text{theReason, c.BeginMove.Reason})
	case c.DestinationReady != nil:
		names = []string{c.DestinationReady.ID}
		for _, a := range c.DestinationReady.Addresses {
			texts = append(texts, text{theAddress, a})
		}
		if len(c.DestinationReady.Addresses) > MaxAddresses {
			names = append(names, "") // refused as malformed
		}
	case c.FinishMove != nil:
		names, texts = []string{c.FinishMove.ID}, append(texts, text{theWhy, c.FinishMove.Why})
	case c.MoveInDoubt != nil:
		names, texts = []string{c.MoveInDoubt.ID}, append(texts, text{theWhy, c.MoveInDoubt.Why})
	case c.ReportStopped != nil:
		names, texts = []string{c.ReportStopped.Host, c.ReportStopped.Guest}, append(texts, text{theWhy, c.ReportStopped.Why})
	case c.HostGone != nil:
		names, texts = []string{c.HostGone.Host}, append(texts, text{theWhy, c.HostGone.Detail})
	}
	return names, texts
}
