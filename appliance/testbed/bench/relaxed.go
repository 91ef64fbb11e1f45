package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// relaxation is QEMU's precopy with its downtime-limit relaxed to the pause that
// one of our policies showed in the same turn: same load, link, budget and run.
// It answers what a policy gains over the same QEMU if that may stop the guest for
// as long.
//
// The pause is the hypervisor's stop, not the observer's blackout. The limit is
// about the stop: QEMU multiplies it with the rate at which it sent in the last
// 100 ms or more, and stops the guest when the pages that are dirty, uncompressed,
// are fewer bytes than that (migration_update_counters and
// migration_iteration_run in migration/migration.c). A blackout has in it what
// the stopping does not decide: the frame that was due, and caches that are cold.
// What follows the pages, device state and the destination's start, is not in
// the estimate, so that QEMU's stop may be above the limit: that is to its good.
//
// The rate is QEMU's own estimate here (avail-switchover-bandwidth 0), as it is
// for anyone who sets nothing but the limit.
//
// A guest that is dirtied faster is not moved at that limit, by however many
// passes. It gets up to relaxedTries, each from the beginning and at twice the
// limit. The row is the last one alone, with neither the time nor the bytes of
// those before it, and says the limit: QEMU then stops the guest for longer than
// ours did.
type relaxation struct{ method, policy string }

var relaxations = []relaxation{{nativePrefix + "relaxed", defaultPolicy}, {nativePrefix + "relaxed-pattern", "memory-pattern"}}

const relaxedTries = 4

// patience with a try. A load that does the same all the time has shown by then
// what its passes come down to; it would take longer to move it later than to
// move it at twice the limit, which is what the row then has.
const (
	patiencePasses = 20
	patienceTime   = 10 * time.Second
)

// notTried: the policy did not move the guest, and there is no pause to relax to.
const notTried = "not-tried"

func relaxationOf(method string) (relaxation, bool) {
	i := slices.IndexFunc(relaxations, func(x relaxation) bool { return x.method == method })
	if i < 0 {
		return relaxation{}, false
	}
	return relaxations[i], true
}

// limitMs is the downtime-limit to begin with: whole milliseconds, upwards. 0
// and why if the policy has no pause in the trial's turn.
func (x relaxation) limitMs(t trial, rows []Row) (int, string) {
	t.method = x.policy
	i := slices.IndexFunc(rows, func(r Row) bool { return r.is(t) })
	switch {
	case i < 0:
		return 0, fmt.Sprintf("no run of %s to take the pause from", x.policy)
	case rows[i].Outcome != moved:
		return 0, fmt.Sprintf("%s: %s", x.policy, rows[i].Outcome)
	}
	return int(math.Ceil(rows[i].StopMs)), ""
}

// relaxed tries the trial's method until QEMU moves the guest.
func (m *measurement) relaxed(ctx context.Context, t trial, x relaxation, rows []Row) error {
	limitMs, why := x.limitMs(t, rows)
	if why != "" {
		m.row.Outcome, m.row.Reason = notTried, why
		return nil
	}
	precopy := native{name: t.method, compression: "none", impatient: true}
	return doubling(limitMs, func(limitMs, try int) (bool, error) {
		m.row.Outcome, m.row.Reason, m.row.TotalS = "", "", 0
		m.row.DowntimeLimitMs, m.row.Tries = limitMs, try
		err := m.attempt(ctx, func() error { return m.g.migrateNative(ctx, precopy, limitMs, m) })
		return m.row.Outcome != notConverged, err
	})
}

// doubling calls try with a limit, and twice as much each time that it has not
// ended, up to relaxedTries.
func doubling(limitMs int, try func(limitMs, try int) (ended bool, err error)) error {
	for n := 1; n <= relaxedTries; n++ {
		if ended, err := try(limitMs, n); ended || err != nil {
			return err
		}
		limitMs *= 2
	}
	return nil
}
