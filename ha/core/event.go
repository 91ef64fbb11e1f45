package core

import "time"

// Event is something that one host's daemon saw. Times are on the daemon's
// monotonic clock, the one passed to Step as now.
type Event interface{ event() }

// Tick comes at least every Timing.PetInterval.
type Tick struct{}

// StateChanged brings the newest replicated state. Older ones are ignored.
type StateChanged struct{ State State }

// LeadershipChanged says whether this host leads the log. True is sent only
// after a barrier: every entry of former leaders has been applied, and the
// State that they made has been delivered by StateChanged.
type LeadershipChanged struct {
	Leader bool
	Term   uint64 // of the log; a new term is a new leadership
}

// LeaseRequested (at the leader): Host asked for a lease. Verified says that
// a quorum confirmed this leader AFTER the request had come in; Index is the
// State.Index that the leader had applied at that confirmation.
type LeaseRequested struct {
	Host     string
	AskedAt  time.Duration // the asker's clock, echoed
	Verified bool
	Index    uint64
}

// LeaseReply answers AskLease. A reply that never comes is not reported.
type LeaseReply struct {
	AskedAt time.Duration // echo of AskLease.AskedAt
	Granted bool
	Index   uint64 // see GrantLease
	Why     string // of a refusal
}

// Status of a copy as seen at its hypervisor.
type Status string

const (
	Running  Status = "running"
	Paused   Status = "paused"   // stopped, and could be continued
	Incoming Status = "incoming" // receives a move, has never run
	Unclear  Status = "unclear"  // the process lives, its monitor did not answer: not dead
)

// Observed is one copy found on this host.
type Observed struct {
	Guest  string
	Epoch  uint64 // under which it was created, from its run directory
	Status Status
	PID    int
}

// GuestsObserved lists EVERY live hypervisor process of this host, found by
// looking at processes (not at the daemon's memory), as of the moment Asked at
// which looking began. Sent at start-up and then at least every Timing.Lease/4.
type GuestsObserved struct {
	Asked  time.Duration
	Copies []Observed
}

// GuestStarted answers StartGuest and PrepareIncoming. Err "" means that the
// process exists. Any other value means that no process exists.
type GuestStarted struct {
	Guest string
	Epoch uint64
	Err   string
}

// IncomingReady answers PrepareIncoming once the gateway listens.
type IncomingReady struct {
	Move      string
	Addresses []string
}

// MoveAsksToStop: the source's gateway is about to stop the guest and asks.
type MoveAsksToStop struct{ Move string }

// MoveResult is the end of a gateway on this host, on either side, and the
// answer to AbortMove. It is sent only when the gateway process is gone.
type MoveResult struct {
	Move string
	// Outcome: Moved when RUNNING was seen (source) or caused (destination);
	// otherwise RolledBack, Refused or Failed.
	Outcome Outcome
	// Committed: the move's commit marker exists (source only).
	Committed bool
	Why       string
}

// ProposalFailed says that the command proposed under Key was not and will
// not be applied (refused by Apply, or never entered into the log). A proposal
// whose fate is unknown is not reported.
type ProposalFailed struct {
	Key  string
	Code Code // "" when it never reached the log
	Why  string
}

// FenceResult reports that a fence device read back the power state of Host,
// after AskedAt.
type FenceResult struct {
	Host    string
	AskedAt time.Duration // echo of Fence.AskedAt
	Off     bool
	Detail  string
}

func (Tick) event()              {}
func (StateChanged) event()      {}
func (LeadershipChanged) event() {}
func (LeaseRequested) event()    {}
func (LeaseReply) event()        {}
func (GuestsObserved) event()    {}
func (GuestStarted) event()      {}
func (IncomingReady) event()     {}
func (MoveAsksToStop) event()    {}
func (MoveResult) event()        {}
func (ProposalFailed) event()    {}
func (FenceResult) event()       {}
