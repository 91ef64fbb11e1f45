package main

import (
	"fmt"

	"bumpless/migrate/gateway"
)

// Row is one switchover, and an element of out/faults/faults.json.
type Row struct {
	N     int    `json:"n"` // from 1
	Seed  uint64 `json:"seed"`
	Fault string `json:"fault"` // "none" for a plain switchover
	Phase string `json:"phase,omitempty"`
	// Struck: the phase was reached and the fault was there. A move that ended
	// before it (refused, rolled back) counts as a plain one.
	Struck bool   `json:"struck"`
	From   string `json:"from"`
	// Outcome is the source's gateway's word, or "no-word" when it died.
	Outcome   string `json:"outcome"`
	Reason    string `json:"reason,omitempty"`
	Committed bool   `json:"committed"` // the marker was made
	// Unanswered: COMMIT was sent and no RUNNING came back, neither to the gateway nor
	// to its daemon: the log decides. With a fault on the link it is the one exception
	// from the budget.
	Unanswered bool   `json:"unanswered,omitempty"`
	RunsAt     string `json:"runs_at"` // source or destination: where the guest is afterwards
	// StopMs is the source's gateway's: from the order to stop until the guest ran
	// again; 0 when it never stopped it, died, or does not know (in-doubt).
	StopMs float64 `json:"stop_ms"`
	// QEMUStopMs is from the event STOP of the source's QEMU to the first RESUME of
	// either, as the harness heard them.
	QEMUStopMs float64 `json:"qemu_stop_ms"`
	// BlackoutMs is the observer's: the largest gap between two frames of the
	// guest, less their period, until a second after the guest ran again.
	BlackoutMs float64 `json:"blackout_ms"`
	BudgetMs   int     `json:"budget_ms"`
	// HeldMs of the stop went into bringing the fault about.
	HeldMs       float64 `json:"held_ms,omitempty"`
	CorruptPages uint64  `json:"corrupt_pages"`
	// CorruptBlocks of the guest's disk.
	CorruptBlocks uint64 `json:"corrupt_blocks"`
	// Copies that ran at the same moment, at most: asked through QMP, and counted
	// on the bus.
	Copies int `json:"copies"`
	// LockedAt is the host whose copy, and nobody else, holds the disk's lock; ""
	// for none, "others" when anybody else has one.
	LockedAt string `json:"locked_at"`
	// Exception names why an overrun is not a broken promise.
	Exception  string             `json:"exception,omitempty"`
	Violations []string           `json:"violations,omitempty"`
	Parts      *gateway.StopParts `json:"parts,omitempty"`
	Load       string             `json:"load,omitempty"` // /proc/loadavg
}

// noWord is the outcome of a gateway that died.
const noWord = "no-word"

// line says how a switchover went, for the terminal.
func (r Row) line() string {
	what := r.Fault
	if r.Fault != plain {
		what += " in " + r.Phase
		if !r.Struck {
			what += " (not reached)"
		}
	}
	s := fmt.Sprintf("%-44s %-11s runs at %-11s stop %4.0f ms, QEMU's %4.0f ms, blackout %4.0f ms of %d; copies %d, locked at %s, corrupt %d", what, r.Outcome, r.RunsAt,
		r.StopMs, r.QEMUStopMs, r.BlackoutMs, r.BudgetMs, r.Copies, r.LockedAt, r.CorruptPages+r.CorruptBlocks)
	for _, v := range r.Violations {
		s += "; VIOLATION: " + v
	}
	if r.Exception != "" {
		s += "; exception: " + r.Exception
	}
	if r.Reason != "" {
		s += ": " + r.Reason
	}
	return s
}
