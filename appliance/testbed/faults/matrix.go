package main

import (
	"math/rand/v2"

	"bumpless/migrate/gateway"
)

// fault is something that goes wrong in a move.
type fault struct {
	name   string
	phases []gateway.Phase // in which it is tried
	// relayed: the gateways' connections go through relays of ours.
	relayed bool
	strike  func(s *switchover) error
}

// Phases in the order of a move.
var (
	allPhases    = []gateway.Phase{gateway.Streaming, gateway.AskingStop, gateway.Stopped, gateway.Draining, gateway.Loading, gateway.AtReady, gateway.Committed, gateway.Running}
	beforeItRuns = allPhases[:len(allPhases)-1]
)

// faults of the matrix. A destination whose QEMU dies while the guest runs in it
// is a lost host, and none of a move's.
var faults = []fault{
	{"link-stalled", allPhases, false, (*switchover).stallLink},
	{"link-cut", allPhases, false, (*switchover).cutLink},
	{"link-slowed", allPhases, false, (*switchover).slowLink},
	{"connections-reset", allPhases, true, (*switchover).resetConnections},
	{"connection-delayed", allPhases, true, (*switchover).delayOneConnection},
	{"destination-qemu-killed", beforeItRuns, false, (*switchover).killDestination},
	{"destination-memory-exhausted", beforeItRuns, false, (*switchover).exhaustMemory},
	{"source-gateway-killed", allPhases, false, (*switchover).killSourceGateway},
	{"source-gateway-frozen", allPhases, false, (*switchover).freezeSourceGateway},
	{"destination-gateway-killed", allPhases, false, (*switchover).killDestinationGateway},
	{"destination-gateway-frozen", allPhases, false, (*switchover).freezeDestinationGateway},
	{"cont-refused", []gateway.Phase{gateway.Committed}, false, (*switchover).takeDisk},
	{"ready-lost", []gateway.Phase{gateway.AtReady}, true, (*switchover).loseAnswers},
	{"commit-lost", []gateway.Phase{gateway.Committed}, true, (*switchover).loseOrders},
	{"running-lost", []gateway.Phase{gateway.Running}, true, (*switchover).loseAnswers},
}

// onTheLink begins the names of the faults that strike what lies between the two hosts,
// the daemons' line included.
const onTheLink = "link-"

// trial is what is tried in one switchover; without a fault it is a plain one.
type trial struct {
	fault *fault
	phase gateway.Phase
}

func (t trial) name() string {
	if t.fault == nil {
		return plain
	}
	return t.fault.name
}

// plain is the name of no fault.
const plain = "none"

// deck is the matrix in the order that the seed gives it; quick takes one phase
// of each fault.
func deck(seed uint64, quick bool) (all []trial) {
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range faults {
		f := &faults[i]
		phases := f.phases
		if quick {
			phases = []gateway.Phase{phases[random.IntN(len(phases))]}
		}
		for _, p := range phases {
			all = append(all, trial{f, p})
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// plan says what comes next.
type plan struct {
	deck    []trial
	count   int // switchovers
	faulted int // of so many, with a fault that struck
	of      int
}

// missedWorth: a trial whose phase was not reached is tried again, but does not
// hold up the others for ever.
const missedWorth = 3

// next after the rows so far; false when the plan is fulfilled.
func (p plan) next(rows []Row) (trial, bool) {
	type tries struct{ struck, missed int }
	done := map[string]tries{}
	struck := 0
	for _, r := range rows {
		t := done[r.Fault+" "+r.Phase]
		if r.Struck {
			t.struck++
			struck++
		} else {
			t.missed++
		}
		done[r.Fault+" "+r.Phase] = t
	}
	if len(rows) >= p.count && struck >= p.count*p.faulted/p.of {
		return trial{}, false
	}
	if struck >= (len(rows)+1)*p.faulted/p.of && len(rows) < p.count {
		return trial{}, true
	}
	best, least := trial{}, -1
	for _, t := range p.deck {
		d := done[t.name()+" "+string(t.phase)]
		if score := d.struck + d.missed/missedWorth; least < 0 || score < least {
			best, least = t, score
		}
	}
	return best, true
}

// waits says which gateway waits in the trial's phase, so that the fault meets
// it there: "source", "destination", or "" where nothing needs to wait.
func (t trial) waits() string {
	if t.fault == nil {
		return ""
	}
	switch t.phase {
	case gateway.Streaming, gateway.AskingStop:
		return "" // it lasts; the daemon's answer is waited for
	case gateway.Loading, gateway.Running:
		return destination
	case gateway.AtReady:
		if t.fault.name == "ready-lost" {
			return destination // which has not sent it yet
		}
	case gateway.Committed:
		switch t.fault.name {
		case "destination-qemu-killed", "destination-memory-exhausted", "destination-gateway-killed", "destination-gateway-frozen", "cont-refused":
			return destination // COMMIT came, `cont` was not said
		}
	}
	return source // for Committed: the marker is made, COMMIT was not sent
}

const (
	source      = "source"
	destination = "destination"
)
