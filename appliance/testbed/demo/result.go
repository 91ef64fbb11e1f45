package main

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Result is out/demo.json: a contract, version 1. Every figure in it was
// measured in this run.
type Result struct {
	Version   int        `json:"version"`
	Moves     []Move     `json:"moves"`
	Failovers []Failover `json:"failovers"`
	Goose     Goose      `json:"goose"`
}

// Move of a guest that was ordered.
type Move struct {
	Guest   string `json:"guest"`
	From    string `json:"from"`
	To      string `json:"to"`
	Reason  string `json:"reason"`
	Outcome string `json:"outcome"` // moved, rolled-back, refused
	// BudgetMs is the guest's hard downtime budget.
	BudgetMs int `json:"budget_ms"`
	// BlackoutMs is the observer's: the largest gap between two of the guest's
	// frames, less the period.
	BlackoutMs float64 `json:"blackout_ms"`
	// StopMs is the gateway's: from the order to stop to RUNNING, or to the
	// guest running on at the source.
	StopMs     float64 `json:"stop_ms"`
	EstimateMs float64 `json:"estimate_ms"` // of StopMs, just before
	TotalS     float64 `json:"total_s"`
	// LinkBytes is counted at the source's ports on both LANs, every frame
	// whole, other traffic of the cluster included.
	LinkBytes    int64  `json:"link_bytes"`
	RAMBytes     int64  `json:"ram_bytes"`
	DigestEqual  bool   `json:"digest_equal"`
	CorruptPages uint64 `json:"corrupt_pages"` // as the guest found them afterwards
	Policy       string `json:"policy"`
}

// Failover of a guest whose host died.
type Failover struct {
	Guest string `json:"guest"`
	From  string `json:"from"`
	To    string `json:"to"`
	Cause string `json:"cause"`
	// BoundS is the computed bound on RestoredS: waiting period, election, the
	// leader's repeat interval, and the guest's boot as measured before.
	BoundS float64 `json:"bound_s"`
	// RestoredS is from the power cut to the guest's first frame.
	RestoredS float64 `json:"restored_s"`
	// CopiesMax is the largest number of hosts from which the guest was heard
	// at the same moment.
	CopiesMax int `json:"copies_max"`
}

// Goose is what the observer saw up to the power cut.
type Goose struct {
	Frames   int     `json:"frames"`
	PeriodMs float64 `json:"period_ms"`
	MaxGapMs float64 `json:"max_gap_ms"`
}

func (r Result) write(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "demo.json"), append(b, '\n'), 0o644)
}
