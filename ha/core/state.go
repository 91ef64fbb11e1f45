package core

import "maps"

// StateVersion is the version of the encoding of State, apart from the
// release. A decoder accepts it and, later, the one before.
const StateVersion = 1

// Bounds of State; a command that would exceed one is refused.
const (
	MaxHosts     = 16
	MaxGuests    = 64
	MaxPastMoves = 64   // finished moves that are remembered
	MaxRecords   = 512  // records in the ring
	MaxName      = 64   // bytes of a name
	MaxGuestName = 40   // bytes of a guest's name: a move's id is made of it
	MaxText      = 1024 // bytes of a reason or an explanation
	MaxAddresses = 16
)

// Role of a host.
type Role string

const (
	Server  Role = "server"  // runs guests
	Witness Role = "witness" // votes only
)

// Service says whether a host takes guests.
type Service string

const (
	InService   Service = "in-service"
	Draining    Service = "draining"    // in maintenance, and guests are still on it
	Maintenance Service = "maintenance" // in maintenance, and proved empty
)

// State is the replicated truth: what is desired, and what may be. It is a
// value: Apply never changes the State it was given.
type State struct {
	Version int `json:"version"`
	// Index counts the commands applied so far, refused ones included.
	Index uint64 `json:"index"`
	// Landscape rises whenever something changes that can make a refused
	// move possible: an order, a host, a guest, another guest's move.
	Landscape uint64           `json:"landscape"`
	Hosts     map[string]Host  `json:"hosts"`
	Guests    map[string]Guest `json:"guests"`
	// Moves holds the moves in progress, by guest.
	Moves map[string]Move `json:"moves"`
	// Past holds finished moves, oldest first, at most MaxPastMoves.
	Past []Move `json:"past"`
	// Records is the ring of what happened and why, oldest first.
	Records []Record `json:"records"`
}

// Host as the log knows it.
type Host struct {
	Name    string  `json:"name"`
	Role    Role    `json:"role"`
	Service Service `json:"service"`
	// MemoryMiB is the memory set aside for guests, in MiB; 0 is unknown.
	MemoryMiB int `json:"memory_mib"`
	// By is who ordered the present Service.
	By Order `json:"by"`
}

// Guest as the log knows it.
type Guest struct {
	GuestSpec
	// Wanted: the guest should be running somewhere.
	Wanted bool `json:"wanted"`
	// Owner is the host that runs it, or is to start it; "" when none.
	Owner string `json:"owner"`
	// Epoch is the highest epoch given out for this guest. It never falls.
	Epoch uint64 `json:"epoch"`
	// Copy is the epoch of the copy that is meant to run on Owner.
	Copy uint64 `json:"copy"`
	// CopyIndex is State.Index when Copy was decided.
	CopyIndex uint64 `json:"copy_index"`
	// MayRun maps each host on which a copy may exist to the highest epoch
	// under which it may have been created.
	MayRun map[string]uint64 `json:"may_run"`
	// LastMove is the id of the newest finished move of this guest, "" if none.
	LastMove string `json:"last_move"`
	// Tries counts moves in a row that did not end in moved.
	Tries int `json:"tries"`
	// DiskHost is the only host that has what a guest with a local disk wrote
	// last; "" when it has no local disk or has never run.
	DiskHost string `json:"disk_host,omitempty"`
}

// GuestSpec is what the site file says of a guest.
type GuestSpec struct {
	Name string `json:"name"`
	// Spec refers to the guest's full description in the site file.
	Spec string `json:"spec"`
	// MemoryMiB of guest memory, in MiB.
	MemoryMiB int `json:"memory_mib"`
	// Group is the redundancy group; "" when the guest has no partner.
	Group string `json:"group"`
	// BudgetMs is the hard downtime budget of a planned move, in milliseconds.
	BudgetMs int `json:"budget_ms"`
	// Preferred host for a first start; "" when none.
	Preferred string `json:"preferred"`
	// LocalDisk: it writes to a disk that only its own host reaches.
	LocalDisk bool `json:"local_disk,omitempty"`
}

// Phase of a move in progress.
type Phase string

const (
	Preparing Phase = "preparing" // the destination creates its copy
	Ready     Phase = "ready"     // the source may run its gateway
	InDoubt   Phase = "in-doubt"  // COMMIT was sent, RUNNING did not come back
	Finished  Phase = "finished"
)

// Outcome of a move.
type Outcome string

const (
	Moved      Outcome = "moved"       // runs at the destination
	RolledBack Outcome = "rolled-back" // was stopped for a moment, runs on at the source
	Refused    Outcome = "refused"     // never stopped, runs on at the source
	Failed     Outcome = "failed"      // never switched; see the reason
)

// Move of a guest from one host to another.
type Move struct {
	ID    string `json:"id"`
	Guest string `json:"guest"`
	From  string `json:"from"`
	To    string `json:"to"`
	// Epoch under which the destination's copy is created.
	Epoch uint64 `json:"epoch"`
	// Index is State.Index when the move began.
	Index    uint64 `json:"index"`
	BudgetMs int    `json:"budget_ms"`
	Phase    Phase  `json:"phase"`
	// Addresses at which the destination's gateway listens, from Ready on.
	Addresses []string `json:"addresses,omitempty"`
	// Reason why the move was asked for: "drain", "operator", …
	Reason string `json:"reason"`
	By     Order  `json:"by"`
	// Outcome and Why are set when the move is Finished. Late says that the
	// log had to decide after COMMIT, so that the budget was missed.
	Outcome Outcome `json:"outcome,omitempty"`
	Why     string  `json:"why,omitempty"`
	Late    bool    `json:"late,omitempty"`
	// Landscape at the end of the move, see State.
	Landscape uint64 `json:"landscape,omitempty"`
}

// Record is one line of the log of what happened.
type Record struct {
	// Index is State.Index of the command that caused it.
	Index uint64 `json:"index"`
	By    Order  `json:"by"`
	// What happened, in words, with its reason.
	What  string `json:"what"`
	Guest string `json:"guest,omitempty"`
	Host  string `json:"host,omitempty"`
	Move  string `json:"move,omitempty"`
}

// NewState returns the state before the first command.
func NewState() State {
	return State{
		Version: StateVersion,
		Hosts:   map[string]Host{},
		Guests:  map[string]Guest{},
		Moves:   map[string]Move{},
	}
}

// Clone returns a deep copy: a State is handed to readers on other goroutines
// while the log goes on.
func (s State) Clone() State {
	s.Hosts = maps.Clone(s.Hosts)
	s.Moves = maps.Clone(s.Moves) // Move.Addresses is never written in place
	s.Guests = maps.Clone(s.Guests)
	for name, g := range s.Guests {
		g.MayRun = maps.Clone(g.MayRun)
		s.Guests[name] = g
	}
	// Full slice expressions: a later append copies instead of writing into
	// the array that this value shares.
	s.Past = s.Past[:len(s.Past):len(s.Past)]
	s.Records = s.Records[:len(s.Records):len(s.Records)]
	return s
}

// FindMove returns the move with that id, in progress or remembered.
func (s State) FindMove(id string) (Move, bool) {
	for _, m := range s.Moves {
		if m.ID == id {
			return m, true
		}
	}
	for _, m := range s.Past {
		if m.ID == id {
			return m, true
		}
	}
	return Move{}, false
}
