package main

import (
	"slices"

	"bumpless/appliance/testbed/rows"
	"bumpless/migrate/gateway"
)

// Row is one run, and an element of out/bench/migrate.json.
type Row struct {
	Load         string  `json:"load"`
	LinkBitsPerS int64   `json:"link_bits_per_s"` // 0: not shaped
	RTTMs        float64 `json:"rtt_ms"`          // that the link adds
	Method       string  `json:"method"`          // qemu-…, or the name of a policy of ours
	Run          int     `json:"run"`
	// Outcome is moved, not-converged (QEMU, after a minute), failed; of ours
	// also refused, rolled-back, in-doubt; of QEMU relaxed also not-tried.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	// PreparationS is what came before the order: the destination's copy is started, and
	// its memory taken; of ours, both gateways too.
	PreparationS float64 `json:"preparation_s"`
	// TotalS is from the order to migrate to the guest running on, there or here.
	TotalS float64 `json:"total_s"`
	// BlackoutMs is the observer's: the largest gap between two of the guest's
	// frames, less their period, from the order until a second after the guest
	// came over.
	BlackoutMs float64 `json:"blackout_ms"`
	StopMs     float64 `json:"stop_ms"` // the hypervisor's: from STOP to RESUME
	BudgetMs   int     `json:"budget_ms"`
	// Of QEMU relaxed only: the downtime-limit of the last try, and how many there
	// were, each at twice the limit of the one before. All else is of the last one.
	DowntimeLimitMs int `json:"downtime_limit_ms,omitempty"`
	Tries           int `json:"tries,omitempty"`
	// LinkBytes both ways, counted at the hosts' ports: frames whole.
	LinkBytes int64 `json:"link_bytes"`
	// LimitBytes is the guest's non-zero, distinct pages after the run,
	// compressed once as a gateway compresses them; LimitS is what the link takes
	// for that, at the rate that was measured on it.
	LimitBytes int64   `json:"limit_bytes"`
	LimitS     float64 `json:"limit_s"`
	// WorkCPUS is the CPU time that the same content takes when it is compressed, sealed,
	// carried, opened, decompressed, and hashed at both ends, with nothing beside it.
	WorkCPUS float64 `json:"work_cpu_s"`
	CPUs     int     `json:"cpus"` // of the machine, which is both hosts
	// CPU of whole processes during the run, the guest's own work included in the
	// hypervisors'. GatewayCPUS is of both gateways.
	SourceCPUS float64 `json:"source_cpu_s"`
	// GuestCPUS is the part of SourceCPUS that the guest's vCPUs had.
	GuestCPUS       float64 `json:"guest_cpu_s"`
	DestinationCPUS float64 `json:"destination_cpu_s"`
	GatewayCPUS     float64 `json:"gateway_cpu_s"`
	// GatewayPeakBytes is the larger one's memory, without the guest's that it maps.
	GatewayPeakBytes int64  `json:"gateway_peak_bytes"`
	CorruptPages     uint64 `json:"corrupt_pages"` // as the guest found them afterwards
	// OthersCPUS is what everything else on the machine took during the run: where
	// it is much, the times are of a machine that had other work.
	OthersCPUS float64 `json:"others_cpu_s"`
	// Of ours only: how long it took until every page had been sent once, or was held,
	// how many passes there were, and where the pause went.
	FirstPassS float64            `json:"first_pass_s,omitempty"`
	Passes     uint32             `json:"passes,omitempty"`
	Parts      *gateway.StopParts `json:"parts,omitempty"`
}

// outcomes of QEMU's own migrations; ours are those of package gateway.
const (
	moved        = "moved"
	notConverged = "not-converged"
	failed       = "failed"
)

// guestShare is what the guest had of a core while it ran at the source.
func (r Row) guestShare() float64 {
	ran := r.TotalS - r.StopMs/1000
	if ran <= 0 {
		return 0
	}
	return r.GuestCPUS / ran
}

// hypervisorsCPUS is what both of them used for the migration itself.
func (r Row) hypervisorsCPUS() float64 { return r.SourceCPUS - r.GuestCPUS + r.DestinationCPUS }

// busyS is the time that the row's work takes at least, with the CPU time that the guest
// left and was not idle for a moment.
func (r Row) busyS() float64 {
	left := float64(r.CPUs) - r.guestShare()
	if left <= 0 {
		return 0 // of a row of an earlier release
	}
	return (r.WorkCPUS + r.hypervisorsCPUS()) / left
}

func (r Row) is(t trial) bool {
	return r.Load == t.load.name && r.LinkBitsPerS == t.cable.bitsPerS && r.RTTMs == float64(t.cable.rttMs) && r.BudgetMs == t.budgetMs && r.Method == t.method && r.Run == t.run
}

// results are the rows of a bench, on disk after every run.
type results struct{ *rows.File[Row] }

func openResults(dir string, resume bool) (results, error) {
	f, err := rows.Open[Row](dir, "migrate.json", resume)
	return results{f}, err
}

func (r results) has(t trial) bool {
	return slices.ContainsFunc(r.Rows, func(row Row) bool { return row.is(t) })
}
