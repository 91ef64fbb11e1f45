package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/pair"
	"bumpless/migrate/gateway"
)

// marginMs and connections are the site file's defaults, wakingMs that of an emulated site.
const (
	marginMs    = 30
	wakingMs    = testbed.WakingMs
	connections = 2
	ourLimitS   = 60 // as long as QEMU may try
)

// end of a move: a gateway, and what is measured of it.
type end struct {
	*pair.Gateway
	peak      func() int64
	firstPass time.Duration // final once Done is closed
}

// ofEnd measures a gateway that has been started.
func ofEnd(g *pair.Gateway) *end {
	return &end{Gateway: g, peak: watchPeak(g.Cmd.Process.Pid, g.Done)}
}

// expectMove starts the source's gateway before the destination's copy, as the daemon
// does, in a directory for the move.
func (g *rig) expectMove() (*end, string, error) {
	dir, err := os.MkdirTemp(g.Dir, "move")
	if err != nil {
		return nil, "", err
	}
	source, err := g.ExpectMove(g.At, dir)
	if err != nil {
		return nil, "", err
	}
	return ofEnd(source), dir, nil
}

// saw one of a source's lines.
func (e *end) saw(event gateway.Event) {
	if event.Pass != nil && event.Pass.AllSentOnce && e.firstPass == 0 {
		e.firstPass = time.Duration(event.AtMs * float64(time.Millisecond))
	}
}

// ramBytes that the guest's stream announces, at most: with video, firmware and
// ROMs.
func (g *rig) ramBytes() uint64 { return uint64(g.load.memoryMiB()+64) << 20 }

// migrateOurs moves the guest through our gateways, of which the source's is waiting.
func (g *rig) migrateOurs(ctx context.Context, policy string, budgetMs int, source *end, dir string, m *measurement) error {
	id := fmt.Sprintf("%s-%d", guestName, m.epoch)
	ram := g.ramBytes()
	there, err := g.StartGateway(m.to, "destination", dir, gateway.DestinationConfig{Move: id, Guest: guestName,
		QMP: g.Runners[m.to].MoveSocket(guestName, m.epoch), TLS: g.TLS(m.to), Peer: m.from, Listen: []string{g.address(m.to) + ":0"},
		RAMBytes: ram, TimeoutS: ourLimitS * 2}, func(gateway.Event) {})
	if err != nil {
		return err
	}
	destination := ofEnd(there)
	defer destination.End()
	addresses, err := destination.Addresses()
	if err != nil {
		return err
	}
	if err := m.begin(); err != nil {
		return err
	}
	if err := source.Begin(gateway.SourceConfig{Move: id, Guest: guestName,
		QMP: g.Runners[m.from].MoveSocket(guestName, g.Epoch), RunDir: dir, Policy: policy, TLS: g.TLS(m.from), Peer: m.to, Addresses: addresses,
		BudgetMs: budgetMs, MarginMs: marginMs, WakingMs: wakingMs, Connections: connections, RAMBytes: ram, TimeoutS: ourLimitS}, source.saw); err != nil {
		return err
	}
	if err := await(ctx, source.Gateway, destination.Gateway); err != nil {
		return err
	}
	m.note(source, destination)
	_, err = os.Lstat(filepath.Join(dir, gateway.CommittedMarker))
	m.committed = err == nil
	return nil
}

func await(ctx context.Context, ends ...*pair.Gateway) error {
	for _, e := range ends {
		select {
		case <-e.Done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// note takes over what the gateways say.
func (m *measurement) note(source, destination *end) {
	m.row.GatewayCPUS = source.CPUSeconds() + destination.CPUSeconds()
	m.row.GatewayPeakBytes = max(source.peak(), destination.peak())
	m.row.FirstPassS = source.firstPass.Seconds()
	m.row.Outcome, m.row.Reason = failed, "the source's gateway ended without a word"
	if r := source.Result; r != nil {
		m.row.Outcome, m.row.Reason, m.row.StopMs, m.row.TotalS = string(r.Outcome), r.Reason, r.StopMs, r.TotalS
		m.row.Passes = r.Passes
		if r.StopMs > 0 {
			m.row.Parts = &r.Parts
		}
		if r.Outcome == gateway.Moved && !r.DigestEqual {
			m.row.Outcome, m.row.Reason = failed, "moved with unequal digests"
		}
	}
}
