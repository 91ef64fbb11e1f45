package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"bumpless/migrate/qmp"
)

// nativeLimit is how long QEMU may try; then it has not converged.
const nativeLimit = time.Minute

// Parameters that all of QEMU's methods get. Its default max-bandwidth is
// 1 Gbit/s, and its default XBZRLE cache holds a sixth of the guest.
const (
	maxBandwidth    = 20e9 // bytes per second: the link is the limit
	xbzrleCache     = 256 << 20
	multifdChannels = 2
	migrationPort   = 4444
)

// pause is what the two hypervisors said of a native migration.
type pause struct{ stop, resume time.Time }

// migrateNative lets QEMU move the guest by itself. The destination resumes on
// its own, as it does for anyone who uses QEMU's migration.
func (g *rig) migrateNative(ctx context.Context, n native, budgetMs int, m *measurement) error {
	source, err := qmp.Dial(ctx, g.Runners[m.from].MoveSocket(guestName, g.Epoch))
	if err != nil {
		return err
	}
	defer source.Close()
	destination, err := qmp.Dial(ctx, g.Runners[m.to].MoveSocket(guestName, m.epoch))
	if err != nil {
		return err
	}
	defer destination.Close()
	for _, q := range []*qmp.Client{source, destination} {
		if err := n.configure(ctx, q, budgetMs); err != nil {
			return err
		}
	}
	// As our gateway does: all of the guest's memory is there before the move begins.
	taken := map[string]any{"path": "/objects/pc.ram", "property": "prealloc", "value": true}
	if err := destination.Execute(ctx, "qom-set", taken, nil); err != nil {
		return err
	}
	// Started with -S; said while it waits, `cont` means: run once you have arrived.
	if err := destination.Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	uri := map[string]string{"uri": fmt.Sprintf("tcp:%s:%d", g.address(m.to), migrationPort)}
	if err := destination.Execute(ctx, "migrate-incoming", uri, nil); err != nil {
		return err
	}
	if err := m.begin(); err != nil {
		return err
	}
	if err := source.Execute(ctx, "migrate", uri, nil); err != nil {
		return err
	}
	return g.follow(ctx, n, source, destination, m)
}

// configure sets everything that matters: this QEMU may have been through
// another method's run.
func (n native) configure(ctx context.Context, q *qmp.Client, budgetMs int) error {
	var list []map[string]any
	for _, c := range []string{"xbzrle", "auto-converge", "multifd", "switchover-ack", "pause-before-switchover", "postcopy-ram"} {
		list = append(list, map[string]any{"capability": c, "state": slices.Contains(n.capabilities, c)})
	}
	for _, c := range []string{"return-path", "events"} {
		list = append(list, map[string]any{"capability": c, "state": true})
	}
	if err := q.Execute(ctx, "migrate-set-capabilities", map[string]any{"capabilities": list}, nil); err != nil {
		return err
	}
	return q.Execute(ctx, "migrate-set-parameters", map[string]any{
		"max-bandwidth": int64(maxBandwidth), "avail-switchover-bandwidth": 0, "downtime-limit": budgetMs, "xbzrle-cache-size": xbzrleCache,
		"multifd-channels": multifdChannels, "multifd-compression": n.compression, "zero-page-detection": "multifd",
	}, nil)
}

// follow waits for the end of the migration.
func (g *rig) follow(ctx context.Context, n native, source, destination *qmp.Client, m *measurement) error {
	limit := time.NewTimer(nativeLimit)
	defer limit.Stop()
	var p pause
	cancelled := ""
	cancel := func(why string) error {
		cancelled = why
		return source.Execute(ctx, "migrate_cancel", nil, nil)
	}
	for {
		select {
		case e, open := <-source.Events:
			if !open {
				return errors.New("the source's QEMU is gone")
			}
			switch status(e) {
			case "STOP":
				p.stop = e.At
			case "cancelled", "failed":
				m.row.Outcome, m.row.Reason = failed, "QEMU says "+status(e)
				if cancelled != "" {
					m.row.Outcome, m.row.Reason = notConverged, "cancelled after "+cancelled
				}
				return nil
			case "MIGRATION_PASS":
				if tried := e.At.Sub(m.began); n.impatient && cancelled == "" && hopeless(passOf(e), tried) {
					if err := cancel(fmt.Sprintf("%d passes in %.0f s", passOf(e), tried.Seconds())); err != nil {
						return err
					}
				}
			}
		case e, open := <-destination.Events:
			if !open {
				return errors.New("the destination's QEMU is gone")
			}
			if e.Name == "RESUME" {
				p.resume = e.At
			}
		case <-limit.C:
			if err := cancel(nativeLimit.String()); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !p.stop.IsZero() && !p.resume.IsZero() {
			m.row.Outcome, m.row.TotalS = moved, p.resume.Sub(m.began).Seconds()
			m.row.StopMs = milliseconds(p.resume.Sub(p.stop))
			return nil
		}
	}
}

// status of a migration that the event tells, or the event's name.
func status(e qmp.Event) string {
	var data struct {
		Status string `json:"status"`
	}
	if e.Name == "MIGRATION" && json.Unmarshal(e.Data, &data) == nil {
		return data.Status
	}
	return e.Name
}

// hopeless tells when a try of a relaxed method is given up.
func hopeless(pass int, tried time.Duration) bool {
	return pass > patiencePasses && tried >= patienceTime
}

// passOf the event that QEMU begins another pass, from 1; 0: it says none.
func passOf(e qmp.Event) int {
	var data struct {
		Pass int `json:"pass"`
	}
	if json.Unmarshal(e.Data, &data) != nil {
		return 0
	}
	return data.Pass
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
