// Package gateway moves one guest between two hosts within a hard downtime
// budget. It sits between two unmodified QEMUs: the source migrates at memory
// speed into its gateway, which decides what crosses the link; the
// destination's gateway makes a valid stream again.
//
//	source QEMU =socketpair=> reader -> table -> senders =N mutual-TLS=> receivers -> writer =socketpair=> QEMU -S
//	                                                                              \=> its RAM
//
// # The switchover is a commit with a deadline
//
// T0 is the moment before the source is told to stop. The deadline is
// T0 + budget - margin - waking: what the guest took, once it ran there, to be heard
// (waking.go). Who listens to it waits for that, too.
//
//	STREAM -(the policy says so, the daemon allows it)-> STOP at T0
//	  -> DRAIN   everything pending is sent; a barrier on each connection
//	  -> VERIFY  the digests of both sides are compared
//	  -> READY   the destination has loaded the guest and waits, stopped
//	  -> before the deadline: COMMIT -> RUNNING -> the source's QEMU is let go
//	     at the deadline, or on any failure: ROLLBACK: the source runs on
//
// The source is stopped with QMP `stop` and not by QEMU's own switchover, so
// that whatever dies leaves it paused; nothing but ROLLBACK continues it.
// COMMIT is preceded by a marker file (CommittedMarker), made with O_EXCL: once
// it exists the source never runs again by the gateway's doing. The marker must
// outlive this process, not the host: the paused QEMU does not either.
//
// COMMIT without RUNNING is the outcome InDoubt: the source stays paused, and
// whoever keeps the replicated truth decides.
//
// # COMMIT, twice
//
// COMMIT says "I shall never run again by myself". That stays true, so that it may
// be said again, later and by another way; what must not happen twice is the
// guest. A destination's gateway that hangs with COMMIT unread would cost as long
// as it takes to agree that it is dead. So, a margin after COMMIT without RUNNING
// (Guard), the source's daemon says COMMIT to the destination's; so does the log,
// once it has the move as in doubt. That daemon kills its gateway, waits until the
// process is gone, and lets the loaded guest run in its place (RunLoaded). Why no
// two copies run:
//
//	the source    has made its marker (the daemon has seen it): it runs again only on
//	              proof that the destination's copy is dead, whatever else happens
//	the guest     was loaded and its digest was equal: QEMU gets the end of a stream
//	              only then, and RunLoaded lets no guest run whose stream has not ended
//	the old       gateway is gone before: one that was only frozen would wake up and
//	              say `cont` when the guest has long moved on
//	a disk        that both hosts reach is locked by whoever runs. The source's QEMU takes
//	              the lock back when its stream breaks, so that its gateway holds the
//	              stream until it is told that the guest runs, or is ended
//	the copy      is not killed as useless meanwhile: whoever decides that is told of
//	              the gateway's end only after the daemon has; from then on a COMMIT is
//	              too late, and the log decides
//
// What remains is the exception: COMMIT was sent and no RUNNING came back, and no
// daemon reaches the other one. It takes until the log has decided.
//
// # Traces
//
// RunTrace records what a guest dirties, for package replay: the source's half of
// a move with nothing behind it. QEMU's switchover is never released, so that
// the guest is not stopped, and at the end the migration is cancelled.
//
// # Bounds
//
// Nothing is waited for without an end:
//
//	60 s  everything before the first page     20 s  the writing of one frame
//	2 min the daemon's answer before STOP      the deadline: all from STOP to COMMIT
//	5 s   RUNNING after COMMIT (the Guard: at most until the budget less waking is over)
//	                                           10 s  QEMU, to cancel and to go on
//	5 s   a mirror without an answer           2 s   the mirrors, to catch up before STOP
//	4 s   an address that does not answer, 1.5 s beside one that does
//	3 s   a LAN beside one that answers        2 s   a connection that does not get through, before STOP
//
// A process that is not run keeps no time: the daemon's Guard ends it.
// Lines for the daemon never wait: a reader that hangs or dies misses some. The
// source keeps about 3 % of RAMBytes and, where it cannot read the guest's memory
// itself, at most twice HeldMiB, the destination 0.7 % of RAMBytes and 0.1 % for each
// connection, and both
// DeltaCacheMiB, which are half of RAMBytes unless it is set; a peer or a guest that
// claims more is refused before memory is taken.
//
// # Guest RAM at the source
//
// Where QEMU shares the guest's RAM as a memory file (memory-backend-memfd, as package
// guest starts it), and the policy reads ahead (policy.Traits), its stream says which
// pages are dirty, and their contents are read from the file when they are sent
// (readLate), once the first pass is not a short one, and held up by the link
// (policy.InOrder). From then on nothing
// waits for the link: passes go on while the first one is being sent, what is written
// again before its turn comes is sent once and not twice, and what waits takes no
// memory (what it saves: package replay,
// TestReadingAheadSavesWhatIsWrittenDuringTheFirstPass). Before that, elsewhere, and
// for blocks that are not in the file, contents are taken from the stream and kept,
// and the reader waits for the link.
//
// Before the stream begins, one page in 16 is hashed; where the first
// pass brings it with another content, it and those behind it count as written again
// and wait (pages.Hotspots). A hot set is not sent in order with the rest by that, only to be
// sent again. What a guest writes seldom shows up only after a while: so its daemon
// starts this gateway when the move begins, with Expected, and hands it the
// configuration when the destination listens, some 0.4 s later. Where that takes long,
// and while local disks are mirrored, it looks again (lookout).
//
// The digest is of the contents that the stream brought last. A page whose content
// was read too early, by a mistake of ours or of QEMU's, makes the digests differ, and
// the move is rolled back.
//
// # Guest RAM at the destination
//
// A QEMU whose guest's RAM is a shared memory file (memory-backend-memfd, as
// package guest starts it) is not handed pages: the destination's gateway writes
// them to the file, and the stream brings the device state and what is no RAM
// (video memory, ROMs). It finds the file itself, by the process behind the monitor
// (SO_PEERCRED) and by the block that is of its size; where that is not one file
// and one block, pages go through the stream. Each page is copied twice less: a move
// of an idle guest at 1 Gbit/s, of two hosts on two cores, took 0.45 s instead of
// 0.69 to 0.75 s.
//
// The file is emptied and then QEMU takes all of the memory (property prealloc),
// before the gateway listens: a host that has not enough says so before the source
// begins, and a page that the guest touches first when it runs here is no page fault.
//
// It is written through a mapping if nobody can make it shorter (F_SEAL_SHRINK: QEMU
// seals it) and all of it is there, since what is missing is SIGBUS there and ends this
// process; else with pwritev(2). Every page is looked for within the mapping first, and
// the mapping is gone when the move is over. What is mapped counts as this process's
// memory (VmRSS), but is the guest's; the kernel's page tables for it, 0.2 % at most,
// are not in "Bounds".
//
// Nothing changes for what is proved: tags are computed of what is written, all of
// it is written before the digests are compared, and QEMU reads none of it before.
//
// # Deltas
//
// What a policy with compression sends again goes as what has changed of it, if
// that is short (QEMU's XBZRLE, link.AppendDelta). It must not weaken the digest,
// which proves what the destination's QEMU was handed. So the destination's
// gateway makes the whole content again, hands that to QEMU, and computes the tag
// of that; nothing is taken on the source's word, and QEMU sees no delta.
//
// Both ends keep contents for that, each connection its own (slots, keeper); the
// destination's are in the guest's memory until something else is written there. A
// delta is made against what the same connection carried last for that page, so
// it needs no acknowledgement and cannot be overtaken by its base or by another
// use of the slot: a connection keeps its order. It need not be the base's next
// version either, since what it leads to is the whole content of its own
// version; versions from different connections meet as before, and the newest
// wins. Pages wait for the connection that keeps them (queue), or go whole over
// another one. Which content is evicted the source decides alone, by using a
// slot again; pages that were sent again stay longest.
//
// # Each content once
//
// Of an idle Debian guest's pages that hold something, 30 % hold what another one
// holds, too. Such a page goes as the number of the slot that has its content
// (link.Same), if the hash of its content is that of the slot's: of 128 bits, under the
// move's key. The slot's content need not be kept here. A page that was
// not sent before waits for the connection that its content's hash chooses, so
// that pages of one content meet without the connections sharing anything. The
// destination computes the page's tag of the content that it took from the slot
// and handed to QEMU, so that the digest shows a wrong slot as any other fault. Two
// contents of one hash it could not tell apart: 2^-120 for each pair of them.
//
// # Two LANs
//
// Connections go over the LANs in turn, and all of them carry pages. An address
// that is not reached within 1.5 s of another one is left out, and the daemon logs it.
// A LAN that dies later ends the move: what its connections had under way is not kept,
// and QEMU sends no page twice unless it was written to. It is dead after four time-outs of TCP in a row, some 3 s, while the
// other one answers. The guest is not stopped then, since every connection must be
// getting an answer before STOP; the next move goes over the LAN that is left. The
// daemon orders that one by itself, once (Result.LinkBroke). A destination that loses a
// LAN first says so in its ABORT (link.LinkBroke).
package gateway

import (
	"bumpless/migrate/link"
)

// CommittedMarker is the name of the marker file in the move's run directory.
const CommittedMarker = "committed"

// Outcome of a move, or of a recording.
type Outcome string

// Outcomes.
const (
	Moved      Outcome = "moved"       // the destination runs
	RolledBack Outcome = "rolled-back" // was stopped, runs on at the source
	Refused    Outcome = "refused"     // was never stopped, runs on at the source
	Failed     Outcome = "failed"      // was never stopped; the move could not go on
	InDoubt    Outcome = "in-doubt"    // COMMIT was sent, RUNNING did not come back
	Recorded   Outcome = "recorded"    // was only traced, runs on
)

// SourceConfig is what the source's gateway needs. Zero values of the tuning
// fields take the defaults that are named.
type SourceConfig struct {
	Move      string     `json:"move"`
	Guest     string     `json:"guest"`
	QMP       string     `json:"qmp"`     // path of the monitor socket set aside for gateways
	RunDir    string     `json:"run_dir"` // of this move; the marker is made here
	Policy    string     `json:"policy"`
	TLS       link.Files `json:"tls"`
	Peer      string     `json:"peer"`      // name in the destination's certificate
	Addresses []string   `json:"addresses"` // of the destination's gateway, one for each LAN
	// LANs of the addresses, in their order. An address without one is not paced.
	LANs []LAN `json:"lans,omitempty"`

	BudgetMs int `json:"budget_ms"`
	MarginMs int `json:"margin_ms"` // of BudgetMs, kept for a resume; 20 ms when 0. A daemon gives the site's move.margin_ms, which is 30 unless its file says otherwise
	// WakingMs of BudgetMs are kept until a guest is heard that runs at its
	// destination, where that does not say it itself.
	WakingMs int `json:"waking_ms,omitempty"`

	Connections    int `json:"connections"`      // 2 when 0
	PassIntervalMs int `json:"pass_interval_ms"` // 200 when 0: how often dirty pages are looked for, at least; more often while that takes little
	FixedMs        int `json:"fixed_ms"`         // pause without pages and round trips, which are measured; 25 when 0
	TimeoutS       int `json:"timeout_s"`        // of the whole move; 600 when 0
	HeldMiB        int `json:"held_mib"`         // 512 when 0: contents that a policy may hold; with what the stop brings it may be twice that
	// DeltaCacheMiB of contents that were sent are kept here, and as many at the
	// destination, so that what changed of a page can be sent alone. 0: half of
	// the guest's RAM; -1: none. A small one costs bytes, nothing else.
	DeltaCacheMiB int `json:"delta_cache_mib"`
	// RAMBytes bounds the guest's RAM, and so this process's memory: about 3 %
	// of it, beside HeldMiB. 64 GiB when 0.
	RAMBytes uint64 `json:"ram_bytes"`
	// LocalDisks are QEMU's block nodes whose content goes along, at most 8; the
	// destination has the same. Disks that both hosts reach are not among them.
	LocalDisks []string `json:"local_disks,omitempty"`

	// PauseAt is for tests: having reported that phase, the gateway waits in it
	// until it is told "on", the deadline passes, the move is aborted or it is
	// killed.
	PauseAt Phase `json:"pause_at,omitempty"`
	on      <-chan struct{}
	// TracePath is for measurements: what the guest dirties is recorded for
	// package replay until TraceMs after the start, and nothing is decided before.
	TracePath string `json:"trace_path,omitempty"`
	TraceMs   int    `json:"trace_ms,omitempty"`
	// AskToStop makes the gateway wait for the command "go" before STOP.
	AskToStop bool `json:"ask_to_stop"`
	// CommitAgain: the daemon sees to it that COMMIT is heard, and says "runs" when
	// the guest does, or ends this process (see "COMMIT, twice").
	CommitAgain bool `json:"commit_again"`
	runs        <-chan struct{}
	expected    *lookout // since before this configuration; nil: none
}

// DestinationConfig is what the destination's gateway needs. Its QEMU waits
// with -S -incoming defer.
type DestinationConfig struct {
	Move   string     `json:"move"`
	Guest  string     `json:"guest"`
	QMP    string     `json:"qmp"`
	TLS    link.Files `json:"tls"`
	Peer   string     `json:"peer"`   // name in the source's certificate
	Listen []string   `json:"listen"` // addresses, port 0 for any
	// RAMBytes bounds what the source may announce; 64 GiB when 0.
	RAMBytes uint64 `json:"ram_bytes"`
	TimeoutS int    `json:"timeout_s"`
	// WakingMs from here running the guest until it was heard, in earlier moves; 0:
	// not known.
	WakingMs int `json:"waking_ms,omitempty"`
	// LocalDisks as the source's; their images are empty, and of the same size.
	LocalDisks []string `json:"local_disks,omitempty"`
	// DeltaCacheMiB bounds what the source may ask to be kept; 0: half of
	// RAMBytes; -1: none.
	DeltaCacheMiB int   `json:"delta_cache_mib"`
	PauseAt       Phase `json:"pause_at,omitempty"`
	on            <-chan struct{}
}

// Phase of a move, in order.
type Phase string

// Phases.
const (
	Connecting Phase = "connect"
	Mirroring  Phase = "mirror" // of local disks, if there are any
	Streaming  Phase = "stream"
	AskingStop Phase = "about-to-stop"
	Stopped    Phase = "stop"
	Draining   Phase = "drain"
	Loading    Phase = "load"
	AtReady    Phase = "ready"
	Committed  Phase = "commit"
	Unheard    Phase = "unheard" // the link broke behind COMMIT
	Running    Phase = "running"
	Rollback   Phase = "rollback"
	Resumed    Phase = "resumed" // it runs on at the source
)

// Event is a line of progress. AtMs counts from the start of the gateway.
type Event struct {
	Phase     Phase    `json:"phase"`
	AtMs      float64  `json:"at_ms"`
	Addresses []string `json:"addresses,omitempty"` // of a destination that listens
	Unreached string   `json:"unreached,omitempty"` // addresses of it that its source goes on without, and why
	WakingMs  int      `json:"waking_ms,omitempty"` // of Stopped: kept of the budget
	Pass      *Pass    `json:"pass,omitempty"`
	Result    *Result  `json:"result,omitempty"` // the last event
}

// Pass is what one pass over the guest's memory brought.
type Pass struct {
	Number        uint32  `json:"number"`
	AllSentOnce   bool    `json:"all_sent_once"` // every page has been sent, or is held
	Pages         int     `json:"pages"`
	HeldBytes     int64   `json:"held_bytes"`
	QueuedBytes   int64   `json:"queued_bytes"`
	LinkBytes     int64   `json:"link_bytes"`
	LinkBytesPerS float64 `json:"link_bytes_per_s"`
	Ratio         float64 `json:"ratio"`
	EstimateMs    float64 `json:"estimate_ms"`
	// KeptBytesPerS is what is left to the service, of all LANs that are paced.
	KeptBytesPerS float64 `json:"kept_bytes_per_s,omitempty"`
}

// Result of a move. The destination fills Outcome, Reason, TotalS, LinkBytes and
// WrittenBytes only.
type Result struct {
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason,omitempty"`
	// LinkBroke: it failed because a connection broke or did not get through, and
	// there was another LAN.
	LinkBroke  bool    `json:"link_broke,omitempty"`
	Policy     string  `json:"policy,omitempty"`
	BudgetMs   int     `json:"budget_ms,omitempty"`
	WakingMs   int     `json:"waking_ms,omitempty"` // of it were kept until the guest is heard
	EstimateMs float64 `json:"estimate_ms"`
	StopMs     float64 `json:"stop_ms"` // T0 to RUNNING, or to the source's own resume
	TotalS     float64 `json:"total_s"`
	LinkBytes  int64   `json:"link_bytes"`           // both ways, TLS included
	DiskBytes  int64   `json:"disk_bytes,omitempty"` // both ways, beside LinkBytes
	RAMBytes   uint64  `json:"ram_bytes"`
	// WrittenBytes of guest RAM that the destination's gateway wrote itself, and not
	// through QEMU's stream.
	WrittenBytes int64 `json:"written_bytes,omitempty"`
	// ReadBytes of guest RAM that the source's gateway read itself, when they were
	// sent.
	ReadBytes   int64  `json:"read_bytes,omitempty"`
	DigestEqual bool   `json:"digest_equal"`
	Passes      uint32 `json:"passes"`
	// Parts of the stop, in ms since T0; 0: not reached.
	Parts StopParts `json:"parts"`
}

// StopParts says where the pause went, in milliseconds since T0.
type StopParts struct {
	StoppedMs float64 `json:"stopped_ms"` // QEMU confirmed the stop
	// MirrorMs: the local disks were handed over; 0 without any.
	MirrorMs  float64 `json:"mirror_ms,omitempty"`
	RAMEndMs  float64 `json:"ram_end_ms"` // the last page was read
	TailMs    float64 `json:"tail_ms"`    // the device state was read
	DrainedMs float64 `json:"drained_ms"` // everything was written to the link
	ReadyMs   float64 `json:"ready_ms"`   // READY came
	CommitMs  float64 `json:"commit_ms"`  // COMMIT was sent
	RunningMs float64 `json:"running_ms"` // RUNNING came
}
