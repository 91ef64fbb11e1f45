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
	var notices []Notice
	if p.NdsCom {
		notices = append(notices, Notice{What: NeedsCommission})
	}
	if s.heard && !s.expired {
		if n, old := s.compare(p); old {
			return append(notices, Notice{What: OutOfOrder})
		} else if n > 0 {
			notices = append(notices, Notice{What: Missed, Count: n})
		}
	}
	if s.expired {
		notices = append(notices, Notice{What: Revived})
	}
	what := Repeated
	if !s.heard || p.StNum != s.last.StNum {
		what = NewState
	}
	s.last, s.heard, s.expired = p, true, false
	s.deadline = now + time.Duration(p.TimeAllowedToLiveMs)*time.Millisecond
	return append(notices, Notice{What: what})
}

// compare says how many frames are missing between the last and p, or that p
// is old. Serial arithmetic: the numbers roll over (IEC 61850-8-1, 18.1.2.5).
// A publisher that restarts begins at stNum 1 and is taken as old until the
// stream has expired, as the standard has it.
func (s *Subscriber) compare(p PDU) (missed uint32, old bool) {
	if d := int32(p.StNum - s.last.StNum); d != 0 {
		if d < 0 {
			return 0, true
		}
		return uint32(d-1) + p.SqNum, false
	}
	d := int32(p.SqNum - s.last.SqNum)
	if d <= 0 {
		return 0, true
	}
	return uint32(d - 1), false
}

// Tick notices at now that the stream has expired.
func (s *Subscriber) Tick(now time.Duration) []Notice {
	if !s.heard || s.expired || now <= s.deadline {
		return nil
	}
	s.expired = true
	return []Notice{{What: Expired}}
}
