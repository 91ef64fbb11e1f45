package gateway

import (
	"math"
	"time"
)

// # What a move leaves alone
//
// A LAN between two hosts also carries a service: GOOSE and SV of its own, the
// hosts' log, a SCADA connection. Of each LAN a move uses
//
//	capacity - max(reserve, what the service sends + headroom)
//
// and no more, from the first byte to the last, the stop phase included. What
// the service sends is measured: what the interface has sent, less what the
// move's own connections have, smoothed. A rise counts at once, a fall slowly:
// too little for a move costs time, too little for the service costs frames.
//
// Another move that leaves this host over the same LAN counts as service. The
// one that came first keeps what it has; the other one gets what is left.

// share is how one LAN is shared out. It has no clock and no effects.
type share struct {
	capacity, reserve float64 // bytes per second on the wire
	service           float64 // the same, smoothed
	known             bool    // service was measured
}

// Smoothing of the service's traffic: the time after which a step up or down
// counts for 63 %.
const (
	riseTime = 60 * time.Millisecond
	fallTime = 500 * time.Millisecond
)

// measured takes in a window.
func (s *share) measured(elapsed time.Duration, service float64) {
	if !s.known {
		s.service, s.known = service, true
		return
	}
	within := fallTime
	if service > s.service {
		within = riseTime
	}
	s.service += (1 - math.Exp(-elapsed.Seconds()/within.Seconds())) * (service - s.service)
}

const (
	// headroom is for what a service sends beyond its mean: so much of it, and
	// no more than the reserve, so that two moves do not push each other out.
	headroom = 0.25
	// trickle of the capacity is a move's in any case: it then ends because its
	// estimate is too long, not because its link looks dead.
	trickle = 0.01
	// unmeasured of the capacity is left alone until the first window has closed.
	unmeasured = 0.5
	// payloadShare of what is on the wire is TCP's payload: 1448 bytes of each
	// 1538, with preamble and gap.
	payloadShare = 1448.0 / 1538
)

// kept is what is left alone, in bytes per second on the wire.
func (s *share) kept() float64 {
	if !s.known {
		return max(s.reserve, unmeasured*s.capacity)
	}
	return max(s.reserve, s.service+min(headroom*s.service, s.reserve))
}

// allowed is what all of a move's connections may send, in bytes of payload per
// second.
func (s *share) allowed() float64 {
	return payloadShare * max(trickle*s.capacity, s.capacity-s.kept())
}

// stage of a move, as far as its disks and its memory share a LAN.
type stage int32

const (
	disksFirst  stage = iota // the mirrors copy all; memory waits
	together                 // memory flows, the mirrors follow the guest's writes
	handingOver              // the guest is stopped: the mirrors must end, memory flows
	memoryOnly               // the mirrors have ended
)

// Parts of what is allowed that go to the disks' connections.
const (
	leastPart = 1.0 / 16 // so that a connection is seen to want more
	mostPart  = 15.0 / 16
	evenPart  = 0.5
	// wantMore is how much more than they used they may use next.
	wantMore = 1.5
)

// disksPart of what is allowed. used is what the disks sent lately, as a part
// of it.
func disksPart(at stage, used float64) float64 {
	switch at {
	case disksFirst:
		return mostPart
	case together:
		return min(max(wantMore*used, leastPart), evenPart)
	case handingOver:
		return evenPart
	}
	return leastPart
}

// divide gives each connection its pace; what one kind has no connection for,
// the other one has.
func divide(allowed, part float64, memory, disks int) (eachMemory, eachDisk float64) {
	switch {
	case disks == 0:
		part = 0
	case memory == 0:
		part = 1
	}
	return allowed * (1 - part) / float64(max(1, memory)), allowed * part / float64(max(1, disks))
}

// traffic over an interface, and of it what this move's connections have sent.
type traffic struct {
	bytes, packets int64 // of the interface
	ours, segments int64 // payload and segments
}

// Bytes of a frame that are not payload.
const (
	headers  = 14 + 20 + 32 // Ethernet, IPv4, TCP with time stamps
	betweens = 4 + 8 + 12   // FCS, preamble and gap, which no interface counts
)

// service is what the others have sent in a window, in bytes on the wire. An
// interface that counts fewer packets than TCP has sent segments counts them
// before they are split; then our headers are too few to matter, and count as
// the service's.
func (w traffic) service() float64 {
	bytes, packets := w.bytes-w.ours, w.packets
	if w.packets >= w.segments {
		bytes -= w.segments * headers
		packets -= w.segments
	}
	return float64(max(0, bytes) + packets*betweens)
}

func (w traffic) since(before traffic) traffic {
	return traffic{w.bytes - before.bytes, w.packets - before.packets, w.ours - before.ours, w.segments - before.segments}
}
