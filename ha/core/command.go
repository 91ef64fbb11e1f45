package core

// CommandVersion is the version of the encoding of Command and Result.
const CommandVersion = 1

// RoleHost is the role under which a host's own daemon gives commands.
const RoleHost = "HOST"

// Order says who gave a command, and when by his clock (for people; nothing
// is decided by it).
type Order struct {
	Name string `json:"name"`
	// Role of IEC 62351-8 (OPERATOR, ENGINEER, …) or HOST.
	Role string `json:"role"`
	// AtMs is wall-clock time in milliseconds since 1970-01-01 UTC.
	AtMs int64 `json:"at_ms,omitempty"`
}

// Command is an entry of the replicated log. Exactly one of the pointers is
// set. Commands are guarded by epochs and move ids, so that one that arrives
// twice, or late, does no harm.
type Command struct {
	Version int   `json:"version"`
	By      Order `json:"by"`
	// Term, when not 0, is the only term of the log in which the command may
	// be entered: it rests on what one leader knew while it led.
	Term uint64 `json:"term,omitempty"`

	RegisterHost     *RegisterHost     `json:"register_host,omitempty"`
	RegisterGuest    *RegisterGuest    `json:"register_guest,omitempty"`
	SetWanted        *SetWanted        `json:"set_wanted,omitempty"`
	SetMaintenance   *SetMaintenance   `json:"set_maintenance,omitempty"`
	Assign           *Assign           `json:"assign,omitempty"`
	BeginMove        *BeginMove        `json:"begin_move,omitempty"`
	DestinationReady *DestinationReady `json:"destination_ready,omitempty"`
	FinishMove       *FinishMove       `json:"finish_move,omitempty"`
	MoveInDoubt      *MoveInDoubt      `json:"move_in_doubt,omitempty"`
	ReportStopped    *ReportStopped    `json:"report_stopped,omitempty"`
	HostGone         *HostGone         `json:"host_gone,omitempty"`
}

// RegisterHost enters or updates a host from the site file. Registering the
// same host again changes nothing and is not an error.
type RegisterHost struct {
	Name      string `json:"name"`
	Role      Role   `json:"role"`
	MemoryMiB int    `json:"memory_mib"`
}

// RegisterGuest enters or updates a guest from the site file. Wanted counts
// only the first time: later the operator's last order stands.
type RegisterGuest struct {
	GuestSpec
	Wanted bool `json:"wanted"`
}

// SetWanted starts or stops a guest for good (until the next order).
type SetWanted struct {
	Guest  string `json:"guest"`
	Wanted bool   `json:"wanted"`
}

// SetMaintenance takes a host out of service (its guests are drained) or back.
// Insist does so although no quorum is left in service, and needs the role
// ENGINEER; it counts where the order is admitted and changes nothing in the state.
type SetMaintenance struct {
	Host   string `json:"host"`
	On     bool   `json:"on"`
	Reason string `json:"reason,omitempty"`
	Insist bool   `json:"insist,omitempty"`
}

// Assign makes To the owner of a guest that runs nowhere else, under a new
// epoch: a first start, a takeover, or a restart in place. Epoch is
// Guest.Epoch as the proposer knew it. While To itself is in MayRun only To
// may propose it (it alone knows that its former copy is dead).
type Assign struct {
	Guest  string `json:"guest"`
	To     string `json:"to"`
	Epoch  uint64 `json:"epoch"`
	Reason string `json:"reason"`
}

// BeginMove starts a planned move. Epoch is Guest.Epoch as the proposer knew
// it. Insist goes on although a partner of the redundancy group is not proved
// to be running; it needs the role ENGINEER.
type BeginMove struct {
	ID     string `json:"id"`
	Guest  string `json:"guest"`
	To     string `json:"to"`
	Epoch  uint64 `json:"epoch"`
	Reason string `json:"reason"`
	Insist bool   `json:"insist,omitempty"`
}

// DestinationReady is the destination's word that its incoming copy and its
// gateway wait at Addresses.
type DestinationReady struct {
	ID        string   `json:"id"`
	Addresses []string `json:"addresses"`
}

// FinishMove ends a move. Moved comes from either side once the destination
// runs; every other outcome from the source only, and only when it has not
// sent COMMIT.
type FinishMove struct {
	ID      string  `json:"id"`
	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why"`
}

// MoveInDoubt is the source's word that it sent COMMIT and heard no RUNNING.
type MoveInDoubt struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// ReportStopped is a host's own word that no copy of the guest with an epoch
// up to Epoch exists on it, and that it will never create one.
type ReportStopped struct {
	Host  string `json:"host"`
	Guest string `json:"guest"`
	Epoch uint64 `json:"epoch"`
	Why   string `json:"why"`
}

// Proof that a host's copies are dead without the host's own word.
type Proof string

const (
	Waited    Proof = "waiting-period"    // the whole waiting period has passed
	FencedOff Proof = "fenced-power-read" // a fence device read back that the power is off
)

// HostGone clears a host out of MayRun on proof. Copies names the epoch of
// each guest's copy that the proof covers; newer ones are left alone. It must
// be proposed to the leader's own log and never be forwarded: what it says was
// true while that leader withheld the host's lease.
type HostGone struct {
	Host   string            `json:"host"`
	Proof  Proof             `json:"proof"`
	Copies map[string]uint64 `json:"copies"`
	Detail string            `json:"detail"`
}

// Code classifies a refusal.
type Code string

const (
	Stale         Code = "stale"          // the epoch or move is no longer the present one
	Unknown       Code = "unknown"        // no such host, guest or move
	Malformed     Code = "malformed"      // the command itself is wrong
	AlreadyThere  Code = "already-there"  // the guest runs on that host
	Moving        Code = "moving"         // the guest is being moved
	NotInService  Code = "not-in-service" // the host takes no guests
	GroupShared   Code = "group-shared"   // a partner of the redundancy group is on that host
	GroupMoving   Code = "group-moving"   // a partner is being moved
	PartnerDown   Code = "partner-down"   // a partner is not proved to be running
	MayStillRun   Code = "may-still-run"  // another host has not been proved stopped
	NotRunning    Code = "not-running"    // the guest does not run, so it cannot be moved
	NoRoom        Code = "no-room"        // not enough memory for guests
	NotAllowed    Code = "not-allowed"    // the role or host may not give this command
	DiskElsewhere Code = "disk-elsewhere" // what the guest wrote is on another host
	Full          Code = "full"           // a bound of State is reached
	NoQuorum      Code = "no-quorum"      // too few hosts would be left to decide anything
)

// Result is the answer to a Command. When Code is not "", nothing but Index
// has changed, and Text says why and what can be done.
type Result struct {
	Version int    `json:"version"`
	Code    Code   `json:"code,omitempty"`
	Text    string `json:"text,omitempty"`
	// Index is State.Index after the command.
	Index uint64 `json:"index"`
	// Epoch given out by Assign or BeginMove.
	Epoch uint64 `json:"epoch,omitempty"`
}

// OK tells whether the command was carried out.
func (r Result) OK() bool { return r.Code == "" }

// Err is nil for a carried-out command and the Refusal otherwise.
func (r Result) Err() error {
	if r.OK() {
		return nil
	}
	return &Refusal{r.Code, r.Text}
}

// Refusal is the error of a command that was refused.
type Refusal struct {
	Code Code
	Text string
}

func (e *Refusal) Error() string { return "refused: " + e.Text }
