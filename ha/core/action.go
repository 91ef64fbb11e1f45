package core

import "time"

// Action is something that the daemon is to do. Every action may be repeated
// harmlessly; Key names it, and an action whose key is still being carried out
// may be dropped.
type Action interface {
	// Key identifies the action: equal keys mean the same effect.
	Key() string
}

// AskLease: send a request for a lease to the leader (also when that is this
// host) and deliver the answer as LeaseReply with the same AskedAt.
type AskLease struct{ AskedAt time.Duration }

// GrantLease (at the leader): answer Host's request. Index must reach the
// asker as LeaseReply.Index: it starts nothing before it has applied that much.
type GrantLease struct {
	Host    string
	AskedAt time.Duration
	Index   uint64
}

// RefuseLease (at the leader): answer Host's request with no.
type RefuseLease struct {
	Host    string
	AskedAt time.Duration
	Why     string
}

// StartGuest: create the copy, unless the clock has passed NotAfter (the end
// of the lease) or another process of the guest exists here. Always answered
// by GuestStarted.
type StartGuest struct {
	Guest    string
	Epoch    uint64
	NotAfter time.Duration
}

// KillGuest: SIGKILL every process of the guest on this host with an epoch up
// to Epoch, of whatever status, with its gateway. Confirmed by GuestsObserved.
type KillGuest struct {
	Guest string
	Epoch uint64
	Why   string
}

// PetWatchdog: pet, unless the clock has passed NotAfter (0: no limit).
type PetWatchdog struct{ NotAfter time.Duration }

// WithholdWatchdog: do not pet. The watchdog stays armed.
type WithholdWatchdog struct{ Why string }

// PrepareIncoming (at the destination): create the incoming copy, unless the
// clock has passed NotAfter, and its gateway. Answered by GuestStarted, then
// IncomingReady or MoveResult.
type PrepareIncoming struct {
	Move     Move
	NotAfter time.Duration
}

// ExpectMove (at the source): the destination is being prepared, and RunMove will
// follow if it can be. What is done ahead for it must be harmless if it does not.
type ExpectMove struct {
	Move  Move
	Epoch uint64 // of the copy that runs here
}

// RunMove (at the source): run the source gateway on the copy with that epoch,
// towards Move.Addresses. Answered by MoveAsksToStop and MoveResult.
type RunMove struct {
	Move  Move
	Epoch uint64
}

// AllowStop answers MoveAsksToStop with yes.
type AllowStop struct{ Move string }

// AbortMove: end this host's gateway of the move if there is one, wait until
// its process is gone, THEN look for the commit marker; always answered by
// MoveResult. (The order matters: a gateway that still lives could yet commit.)
type AbortMove struct {
	Move string
	Why  string
}

// ResumeSource: `cont` the paused copy with that epoch. Only given out when no
// gateway of the move lives on this host and the copy has the right to run.
// The executor gives up once the clock has passed NotAfter, before every
// attempt: by then the copy may be on its way to another host again.
type ResumeSource struct {
	Guest    string
	Epoch    uint64
	Move     string
	NotAfter time.Duration
}

// Propose: enter the command into the log, through the leader. LocalOnly: only
// into this host's own log, as the leader; never forward it.
type Propose struct {
	ProposalKey string
	Command     Command
	LocalOnly   bool
}

// Fence: switch Host off at its fence device, read the state back, answer with
// FenceResult. A site without fence devices ignores it.
type Fence struct {
	Host string
	// AskedAt is on this daemon's clock; FenceResult brings it back.
	AskedAt time.Duration
}

func (a AskLease) Key() string         { return "ask-lease/" + a.AskedAt.String() }
func (a GrantLease) Key() string       { return "grant-lease/" + a.Host + "/" + a.AskedAt.String() }
func (a RefuseLease) Key() string      { return "refuse-lease/" + a.Host + "/" + a.AskedAt.String() }
func (a StartGuest) Key() string       { return key("start", a.Guest, a.Epoch) }
func (a KillGuest) Key() string        { return key("kill", a.Guest, a.Epoch) }
func (a PetWatchdog) Key() string      { return "watchdog" }
func (a WithholdWatchdog) Key() string { return "watchdog" }
func (a PrepareIncoming) Key() string  { return "prepare/" + a.Move.ID }
func (a ExpectMove) Key() string       { return "expect/" + a.Move.ID }
func (a RunMove) Key() string          { return "run/" + a.Move.ID }
func (a AllowStop) Key() string        { return "allow-stop/" + a.Move }
func (a AbortMove) Key() string        { return "abort/" + a.Move }
func (a ResumeSource) Key() string     { return key("resume", a.Guest, a.Epoch) }
func (a Propose) Key() string          { return "propose/" + a.ProposalKey }
func (a Fence) Key() string            { return "fence/" + a.Host }
