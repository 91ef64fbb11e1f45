package goose

import "time"

// Happening is what a subscriber notices.
type Happening string

// Happenings.
const (
	NewState         Happening = "new-state"          // stNum changed
	Repeated         Happening = "repeated"           // the same state again
	Missed           Happening = "missed"             // frames are missing before this one
	OutOfOrder       Happening = "out-of-order"       // an old frame; ignored
	Expired          Happening = "expired"            // timeAllowedToLive ran out
	Revived          Happening = "revived"            // heard again after Expired
	WrongConfRev     Happening = "wrong-conf-rev"     // ignored
	NeedsCommission  Happening = "needs-commission"   // ndsCom is set
	SimulatedIgnored Happening = "simulation-ignored" // simulated frame, or real one while simulating
)

// Notice is one happening; Count is the number of missing frames of Missed.
type Notice struct {
	What  Happening
	Count uint32
}

// Subscriber follows one GOOSE control block. It is not safe for concurrent
// use.
type Subscriber struct {
	GocbRef   string
	ConfRev   uint32
	Simulated bool // LPHD.Sim: take simulated frames instead of real ones

	last     PDU
	heard    bool
	expired  bool
	deadline time.Duration
}

// Last returns the newest accepted PDU, and whether the stream is alive.
func (s *Subscriber) Last() (PDU, bool) { return s.last, s.heard && !s.expired }

// Receive takes a frame that arrived at now. Frames of other control blocks
// give no notice.
func (s *Subscriber) Receive(now time.Duration, f Frame) []Notice {
	p := f.PDU
	if p.GocbRef != s.GocbRef {
		return nil
	}
	if (p.Simulation || f.Simulated) != s.Simulated {
		return []Notice{{What: SimulatedIgnored}}
	}
	if p.ConfRev != s.ConfRev {
		return []Notice{{What: WrongConfRev}}
	}
	// A caller that ticks seldom must not have a dead stream taken as alive.
	notices := s.Tick(now)
	if p.NdsCom {
		notices = append(notices, Notice{What: NeedsCommission})
	}
	missed, old := s.compare(p)
	what := Repeated
	switch {
	case !s.heard:
		what = NewState
	case s.expired:
		notices = append(notices, Notice{What: Revived})
		if old || p.StNum != s.last.StNum { // old: the publisher restarted
			what = NewState
		}
	case old:
		return append(notices, Notice{What: OutOfOrder})
	default:
		if missed > 0 {
			notices = append(notices, Notice{What: Missed, Count: missed})
		}
		if p.StNum != s.last.StNum {
			what = NewState
		}
	}
	s.last, s.heard, s.expired = p, true, false
	s.deadline = now + time.Duration(p.TimeAllowedToLiveMs)*time.Millisecond
	return append(notices, Notice{What: what})
}

// compare says how many frames are missing between the last and p, or that p
// is old. A publisher that restarts begins at stNum 1 and is taken as old until
// the stream has expired, as the standard has it.
func (s *Subscriber) compare(p PDU) (missed uint32, old bool) {
	states, frames := ahead(s.last.StNum, p.StNum), ahead(s.last.SqNum, p.SqNum)
	switch {
	case states < 0, states == 0 && frames <= 0:
		return 0, true
	case states > 0:
		return uint32(states-1) + p.SqNum, false
	}
	return uint32(frames - 1), false
}

// ahead says how many steps a counter went from one value to the other, fewer
// than 0 for back. It rolls over to 1, because 0 is reserved (IEC 61850-8-1,
// 18.1.2.5).
func ahead(from, to uint32) int32 {
	d := int32(to - from)
	if d > 0 && to < from && to != 0 {
		d--
	}
	return d
}

// Tick notices at now that the stream has expired.
func (s *Subscriber) Tick(now time.Duration) []Notice {
	if !s.heard || s.expired || now <= s.deadline {
		return nil
	}
	s.expired = true
	return []Notice{{What: Expired}}
}
