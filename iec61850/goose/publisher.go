package goose

import "time"

// Timing of a publisher's repetitions.
type Timing struct {
	T1 time.Duration // first repetition after a change
	T0 time.Duration // repetition of a stable state; intervals double from T1 up to it
	// Lives is timeAllowedToLive as a multiple of the interval to the next
	// frame. Common stacks use 3: two frames may be lost.
	Lives int
}

// Publisher produces the frames of one GOOSE control block. The zero time is
// whatever the caller counts from. It is not safe for concurrent use.
type Publisher struct {
	frame    Frame
	timing   Timing
	interval time.Duration
	due      time.Duration
	started  bool
}

// NewPublisher publishes with the identity of frame; its data, numbers and
// times are replaced.
func NewPublisher(frame Frame, timing Timing) *Publisher {
	frame.PDU.StNum, frame.PDU.SqNum = 0, 0
	return &Publisher{frame: frame, timing: timing}
}

// Set changes the state at now (wall is the time of the event, for t): stNum
// goes up, and the next Poll is due at once. The publisher keeps data; the
// caller must not change it.
func (p *Publisher) Set(data []Data, now time.Duration, wall Timestamp) {
	p.started = true
	p.frame.PDU.AllData = data
	p.frame.PDU.T = wall
	p.frame.PDU.StNum++
	if p.frame.PDU.StNum == 0 { // 0 is reserved (IEC 61850-8-1, 18.1.2.5)
		p.frame.PDU.StNum = 1
	}
	p.frame.PDU.SqNum = 0
	p.interval = p.timing.T1
	p.due = now
}

// Due says when the next frame is due; false before the first Set.
func (p *Publisher) Due() (time.Duration, bool) { return p.due, p.started }

// Poll returns the frame due at now, if one is. A caller that comes late sends
// one frame, not those that it missed.
func (p *Publisher) Poll(now time.Duration) (Frame, bool) {
	if !p.started || now < p.due {
		return Frame{}, false
	}
	f := p.frame
	f.PDU.TimeAllowedToLiveMs = uint32(max(1, (time.Duration(p.timing.Lives) * p.interval).Milliseconds()))
	p.due += p.interval
	if p.due <= now {
		p.due = now + p.interval
	}
	p.interval = min(2*p.interval, p.timing.T0)
	p.frame.PDU.SqNum++
	if p.frame.PDU.SqNum == 0 { // 0 says "just changed"
		p.frame.PDU.SqNum = 1
	}
	return f, true
}
