package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"bumpless/appliance/guest"
	"bumpless/appliance/testbed/pair"
)

// measurement of one run, while it runs.
type measurement struct {
	g         *rig
	row       Row
	from, to  string
	epoch     uint64 // of the copy at the destination
	pids      [2]int // of the hypervisors, source and destination
	committed bool   // by a gateway of ours

	asked   time.Time // when the preparation began; zero: it does with the next attempt
	began   time.Time
	bytes   int64
	cpu     [2]float64
	guest   float64 // CPU seconds of the guest's vCPUs at the source
	machine float64 // CPU seconds of all CPUs
}

// begin is called at the order to migrate.
func (m *measurement) begin() (err error) {
	m.row.PreparationS, m.asked = time.Since(m.asked).Seconds(), time.Time{}
	if err := warm(); err != nil {
		return err
	}
	for i, pid := range m.pids {
		if m.cpu[i], err = cpuSeconds(pid); err != nil {
			return err
		}
	}
	if m.guest, err = vcpuSeconds(m.pids[0]); err != nil {
		return err
	}
	if m.machine, err = machineSeconds(); err != nil {
		return err
	}
	if m.bytes, err = m.g.linkBytes(); err != nil {
		return err
	}
	m.began = time.Now()
	return nil
}

// end is called when the guest runs on, there or here.
func (m *measurement) end() error {
	if m.began.IsZero() {
		return errors.New("the migration did not begin")
	}
	if m.row.TotalS == 0 {
		m.row.TotalS = time.Since(m.began).Seconds()
	}
	machine, err := machineSeconds()
	if err != nil {
		return err
	}
	bytes, err := m.g.linkBytes()
	m.row.LinkBytes = bytes - m.bytes
	for i, figure := range []*float64{&m.row.SourceCPUS, &m.row.DestinationCPUS} {
		now, cpuErr := cpuSeconds(m.pids[i])
		if cpuErr == nil { // a destination may have died
			*figure = now - m.cpu[i]
		}
	}
	if guest, cpuErr := vcpuSeconds(m.pids[0]); cpuErr == nil {
		m.row.GuestCPUS = guest - m.guest
	}
	m.row.OthersCPUS = max(0, machine-m.machine-m.row.SourceCPUS-m.row.DestinationCPUS-m.row.GatewayCPUS)
	return err
}

// rest for as long.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// measure carries out one trial and leaves the guest running, on one of the two
// hosts. rows are those of earlier trials. An error means that the guest is in no
// known state.
func (g *rig) measure(ctx context.Context, t trial, rows []Row) (Row, error) {
	m := &measurement{g: g, from: g.At, to: pair.Other(g.At), row: Row{Load: t.load.name, LinkBitsPerS: t.cable.bitsPerS, RTTMs: float64(t.cable.rttMs), Method: t.method, Run: t.run, BudgetMs: t.budgetMs}}
	err := m.run(ctx, t, rows)
	if err != nil {
		m.row.Outcome, m.row.Reason = failed, err.Error()
	}
	return m.row, err
}

func (m *measurement) run(ctx context.Context, t trial, rows []Row) (err error) {
	if err := m.migrate(ctx, t, rows); err != nil || m.row.Outcome == notTried {
		return err
	}
	g := m.g
	if m.row.CorruptPages, err = g.Verify(); err != nil {
		return err
	}
	m.row.BlackoutMs = milliseconds(g.Blackout(m.from, m.began, m.began.Add(time.Duration(m.row.TotalS*float64(time.Second)))))
	var work time.Duration
	m.row.LimitBytes, work, err = g.measureLimit(ctx)
	m.row.WorkCPUS, m.row.CPUs = work.Seconds(), runtime.NumCPU()
	m.row.LimitS = float64(m.row.LimitBytes) / g.bytesPerS
	return err
}

func (m *measurement) migrate(ctx context.Context, t trial, rows []Row) error {
	if x, ok := relaxationOf(t.method); ok {
		return m.relaxed(ctx, t, x, rows)
	}
	if i := slices.IndexFunc(natives, func(n native) bool { return n.name == t.method }); i >= 0 {
		return m.attempt(ctx, func() error { return m.g.migrateNative(ctx, natives[i], t.budgetMs, m) })
	}
	m.asked = time.Now()
	source, dir, err := m.g.expectMove()
	if err != nil {
		return err
	}
	defer source.End()
	return m.attempt(ctx, func() error { return m.g.migrateOurs(ctx, t.method, t.budgetMs, source, dir, m) })
}

// attempt starts a destination, lets the guest migrate and leaves one copy.
func (m *measurement) attempt(ctx context.Context, migrate func() error) (err error) {
	g := m.g
	if m.asked.IsZero() {
		m.asked = time.Now()
	}
	if m.epoch, err = g.Start(ctx, m.to, true); err != nil {
		return err
	}
	if m.pids[0], err = g.PID(m.from, g.Epoch); err != nil {
		return err
	}
	if m.pids[1], err = g.PID(m.to, m.epoch); err != nil {
		return err
	}
	if err := migrate(); err != nil {
		return err
	}
	if err := m.end(); err != nil {
		return err
	}
	return g.settle(ctx, m)
}

// settle does what the daemons do after a move: one copy goes on. The source's
// does unless the guest runs at the destination; a source that has committed
// goes on only when the destination's copy is dead. A source's copy is ended when the
// guest has been observed for long enough: its memory takes the kernel a tenth of a
// second to give back, which on two hosts is not the destination's time.
func (g *rig) settle(ctx context.Context, m *measurement) error {
	ctx, cancel := context.WithTimeout(ctx, pair.KillWait)
	defer cancel()
	there, err := g.State(ctx, m.to, m.epoch)
	if err != nil {
		return err
	}
	if there == guest.Running {
		if err := rest(ctx, pair.Afterglow); err != nil {
			return err
		}
		if err := g.Kill(ctx, m.from, g.Epoch); err != nil {
			return err
		}
		if !strings.HasPrefix(m.row.Method, nativePrefix) && !m.committed {
			return fmt.Errorf("the destination's copy runs although the source did not commit (%s)", m.row.Outcome)
		}
		return g.Arrived(m.to, m.epoch)
	}
	if m.row.Outcome == moved {
		return fmt.Errorf("moved, but the destination's copy is %s", there)
	}
	if err := g.Kill(ctx, m.to, m.epoch); err != nil {
		return err
	}
	here, err := g.State(ctx, m.from, g.Epoch)
	if err != nil || here == guest.Running {
		return err
	}
	return g.Runners[m.from].Continue(ctx, guestName, g.Epoch)
}
