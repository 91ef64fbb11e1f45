// Package api is how hosts and people talk to a host's daemon: JSON over HTTP,
// mutual TLS 1.3 between machines, and a unix socket for whoever is root on the
// host itself.
//
// Who may do what follows from the certificate: its common name says who calls,
// its organisational unit with which role (IEC 62351-8, or HOST for a daemon).
// The table Verbs says which roles each verb needs; a refusal names them.
//
// Requests are bounded in size and time. A field that this release does not
// know is an error: a "dry run" must never be ignored by an older host.
package api

import (
	"context"
	"encoding/json"
	"time"
)

// Caller is who calls, as proved by the connection.
type Caller struct {
	Name string `json:"name"`
	Role string `json:"role"`
}

// Roles.
const (
	HostRole = "HOST"
	Viewer   = "VIEWER"
	Operator = "OPERATOR"
	Engineer = "ENGINEER"
)

// Status of a host, and of the site as that host knows it.
type Status struct {
	Site   string `json:"site"`
	Host   string `json:"host"`
	Leader string `json:"leader"`
	// Index of the newest entry of the replicated log that the host has applied.
	Index uint64 `json:"index"`
	// LeaseLeftS: for how long the host may still run guests, in seconds; it
	// is renewed all the time.
	LeaseLeftS float64 `json:"lease_left_s"`
	// WatchdogWithheld says why the watchdog is not petted, "" when it is.
	WatchdogWithheld string `json:"watchdog_withheld,omitempty"`
	// WaitingPeriodS before a silent host's guests are started elsewhere.
	WaitingPeriodS float64      `json:"waiting_period_s"`
	WaitingPeriod  string       `json:"waiting_period"`
	Hosts          []HostStatus `json:"hosts"`
	Guests         []Guest      `json:"guests"`
}

// HostStatus is one host of the site.
type HostStatus struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	Service string `json:"service"` // in-service, draining, maintenance
	// SilentS since the leader last granted it a lease. Only the leader knows it: null
	// where that cannot be asked, and of a witness, which has no lease.
	SilentS       *float64 `json:"silent_s"`
	MemoryMiB     int      `json:"memory_mib"`
	FreeMemoryMiB int      `json:"free_memory_mib"`
}

// Guest is one guest of the site.
type Guest struct {
	Name      string   `json:"name"`
	Wanted    bool     `json:"wanted"`
	Owner     string   `json:"owner"` // the host that runs it, "" for none
	Epoch     uint64   `json:"epoch"`
	MayRun    []string `json:"may_run_on"`
	MemoryMiB int      `json:"memory_mib"`
	BudgetMs  int      `json:"budget_ms"`
	Group     string   `json:"redundancy_group,omitempty"`
	// Here is the state of the copy on the answering host, "" for none.
	Here string `json:"here,omitempty"`
	// Move in progress, "" for none.
	Move      string `json:"move,omitempty"`
	MoveTo    string `json:"move_to,omitempty"`
	MovePhase string `json:"move_phase,omitempty"`
}

// MoveRequest moves one guest.
type MoveRequest struct {
	Guest  string `json:"guest"`
	To     string `json:"to"` // "" lets the leader choose
	Reason string `json:"reason,omitempty"`
	// Insist on it although the partner in the redundancy group does not run:
	// needs the role ENGINEER. Never onto the partner's host.
	Insist bool `json:"insist,omitempty"`
	DryRun bool `json:"dry_run,omitempty"`
}

// HostRequest names a host to drain, or to take back into service.
type HostRequest struct {
	Host   string `json:"host"`
	Reason string `json:"reason,omitempty"`
	// Insist on a drain that leaves no quorum in service: needs the role ENGINEER.
	Insist bool `json:"insist,omitempty"`
	DryRun bool `json:"dry_run,omitempty"`
}

// Accepted is the answer to an order.
type Accepted struct {
	// Move that was begun, "" when there is none to follow.
	Move string `json:"move,omitempty"`
	// Text says what happens now, or would.
	Text string `json:"text"`
	// Plan of a drain, a line for each guest; Stays counts those that do not move
	// before something changes.
	Plan  []string `json:"plan,omitempty"`
	Stays int      `json:"stays,omitempty"`
}

// ExplainRequest asks why things are as they are: for one guest, or for all.
type ExplainRequest struct {
	Guest string `json:"guest,omitempty"`
}

// Explanation of one guest's place.
type Explanation struct {
	Guest string `json:"guest"`
	// Text is the answer in a sentence, Detail has every named number.
	Text   string          `json:"text"`
	Detail json.RawMessage `json:"detail"`
}

// EventsRequest asks for what happened after an index of the log.
type EventsRequest struct {
	After uint64 `json:"after,omitempty"`
}

// Event is a line of the site's log.
type Event struct {
	Index uint64 `json:"index"`
	AtMs  int64  `json:"at_ms,omitempty"` // wall clock, since 1970
	By    string `json:"by"`
	Role  string `json:"role"`
	What  string `json:"what"`
	Guest string `json:"guest,omitempty"`
	Host  string `json:"host,omitempty"`
	Move  string `json:"move,omitempty"`
}

// ProgressRequest follows one move, or all of a host's drain.
type ProgressRequest struct {
	Move string `json:"move,omitempty"`
	Host string `json:"host,omitempty"`
}

// Progress is a line about a move under way; the last one is Final.
type Progress struct {
	AtMs  int64  `json:"at_ms"` // wall clock, since 1970
	Move  string `json:"move,omitempty"`
	Guest string `json:"guest,omitempty"`
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"`
	Phase string `json:"phase"`
	// What the last pass over the guest's memory brought; nil between passes.
	Pass *Pass `json:"pass,omitempty"`
	// Outcome and Reason of a finished move, and what its gateway measured.
	Outcome string          `json:"outcome,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Final   bool            `json:"final,omitempty"` // nothing more comes
}

// Pass over a guest's memory.
type Pass struct {
	Number        uint32  `json:"number"`
	Pages         int     `json:"pages"`
	HeldBytes     int64   `json:"held_bytes"`
	QueuedBytes   int64   `json:"queued_bytes"`
	LinkBytes     int64   `json:"link_bytes"`
	LinkBytesPerS float64 `json:"link_bytes_per_s"`
	EstimateMs    float64 `json:"estimate_ms"`
}

// TraceRequest records what a guest of the asked host dirties.
type TraceRequest struct {
	Guest   string `json:"guest"`
	Seconds int    `json:"seconds"` // from the end of the first pass over its memory
}

// TraceLine is a line about a recording; the last one is Final. The guest runs on
// all the time.
type TraceLine struct {
	// Phase is connect, stream, file, or error with its Reason.
	Phase  string `json:"phase"`
	Reason string `json:"reason,omitempty"`
	// Pass over the guest's memory, from 1, and the pages that it brought.
	Pass  uint32 `json:"pass,omitempty"`
	Pages int    `json:"pages,omitempty"`
	// Chunk of the trace's file (migrate/replay), in order.
	Chunk []byte `json:"chunk,omitempty"`
	Final bool   `json:"final,omitempty"` // nothing more comes
}

// MaxTraceSeconds bounds a recording.
const MaxTraceSeconds = 600

// LeaseRequest of a host to the leader.
type LeaseRequest struct {
	AskedAt time.Duration `json:"asked_at_ns"` // the asker's clock, echoed
}

// LeaseAnswer of the leader.
type LeaseAnswer struct {
	Granted bool   `json:"granted"`
	Index   uint64 `json:"index"`
	Why     string `json:"why,omitempty"`
}

// ProposeRequest enters a command into the leader's log.
type ProposeRequest struct {
	Command json.RawMessage `json:"command"`
}

// ProposeAnswer is its result. NotEntered: it certainly never entered the log.
type ProposeAnswer struct {
	Result     json.RawMessage `json:"result,omitempty"`
	NotEntered bool            `json:"not_entered,omitempty"`
	Why        string          `json:"why,omitempty"`
}

// CommitRequest of a move's source to its destination: it has committed, and
// hears nothing of the gateways.
type CommitRequest struct {
	Move string `json:"move"`
}

// CommitAnswer tells whether the guest runs at the destination.
type CommitAnswer struct {
	Runs bool   `json:"runs"`
	Why  string `json:"why,omitempty"` // it does not
}

// Nothing is an empty request or answer.
type Nothing struct{}

// Backend does the work; a host's daemon is one.
type Backend interface {
	Status(ctx context.Context) (Status, error)
	Move(ctx context.Context, by Caller, r MoveRequest) (Accepted, error)
	Drain(ctx context.Context, by Caller, r HostRequest) (Accepted, error)
	Resume(ctx context.Context, by Caller, r HostRequest) (Accepted, error)
	Explain(ctx context.Context, r ExplainRequest) ([]Explanation, error)
	Events(ctx context.Context, r EventsRequest) ([]Event, error)
	// Progress calls tell for each line until the last one, or ctx ends.
	Progress(ctx context.Context, r ProgressRequest, tell func(Progress)) error
	// Trace records a guest that runs on the asked host, until the last line; when
	// ctx ends the recording does.
	Trace(ctx context.Context, by Caller, r TraceRequest, tell func(TraceLine)) error
}

// HostBackend is what hosts' daemons ask of each other.
type HostBackend interface {
	Lease(ctx context.Context, host string, r LeaseRequest) (LeaseAnswer, error)
	Propose(ctx context.Context, host string, r ProposeRequest) (ProposeAnswer, error)
	Abilities(ctx context.Context) (json.RawMessage, error)
	// Commit is COMMIT of a move once more, past its gateways.
	Commit(ctx context.Context, host string, r CommitRequest) (CommitAnswer, error)
	// LocalProgress is Progress for gateways on this host only.
	LocalProgress(ctx context.Context, r ProgressRequest, tell func(Progress)) error
}

// Refusal is an order that is not carried out, with what would help. It is not
// a failure of the host.
type Refusal struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

func (r *Refusal) Error() string { return "refused: " + r.Text }
