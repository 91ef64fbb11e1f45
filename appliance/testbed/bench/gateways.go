package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"bumpless/migrate/gateway"
)

// marginMs and connections are the site file's defaults.
const (
	marginMs    = 30
	connections = 2
	ourLimitS   = 60 // as long as QEMU may try
)

// end of a move: a gateway process of `bumpless gateway ROLE`.
type end struct {
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	addresses chan []string // of a destination that listens
	done      chan struct{} // the process has ended; the fields below are final
	peak      func() int64
	result    *gateway.Result
	firstPass time.Duration
}

func (g *rig) startGateway(host, role, dir string, config any) (*end, error) {
	log, err := os.Create(filepath.Join(dir, role+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	e := &end{cmd: exec.Command(g.binary, "gateway", role), addresses: make(chan []string, 1), done: make(chan struct{})}
	e.cmd.Stderr = log
	if e.stdin, err = e.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.bed.Host(host).InNetwork(e.cmd.Start); err != nil {
		return nil, fmt.Errorf("start the %s gateway: %w", role, err)
	}
	e.peak = watchPeak(e.cmd.Process.Pid, e.done)
	go e.follow(out)
	if err := json.NewEncoder(e.stdin).Encode(config); err != nil {
		e.kill()
		return nil, fmt.Errorf("start the %s gateway: %w", role, err)
	}
	return e, nil
}

func (e *end) follow(out io.Reader) {
	defer close(e.done)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event gateway.Event
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			continue
		}
		if len(event.Addresses) > 0 {
			select {
			case e.addresses <- event.Addresses:
			default:
			}
		}
		if event.Pass != nil && event.Pass.Number == 1 {
			e.firstPass = time.Duration(event.AtMs * float64(time.Millisecond))
		}
		if event.Result != nil && event.Phase == "" {
			e.result = event.Result
		}
	}
	_ = e.cmd.Wait() // its last line says how it ended
}

func (e *end) kill() {
	_ = e.cmd.Process.Kill() // it may have ended
	<-e.done
}

func (e *end) cpuSeconds() float64 {
	return (e.cmd.ProcessState.UserTime() + e.cmd.ProcessState.SystemTime()).Seconds()
}

// ramBytes that the guest's stream announces, at most: with video, firmware and
// ROMs.
func (g *rig) ramBytes() uint64 { return uint64(g.load.memoryMiB()+64) << 20 }

// migrateOurs moves the guest through our gateways.
func (g *rig) migrateOurs(ctx context.Context, policy string, budgetMs int, m *measurement) error {
	dir := filepath.Join(g.dir, fmt.Sprint("move", m.epoch))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	id := fmt.Sprintf("%s-%d", guestName, m.epoch)
	ram := g.ramBytes()
	destination, err := g.startGateway(m.to, "destination", dir, gateway.DestinationConfig{Move: id, Guest: guestName,
		QMP: g.runners[m.to].MoveSocket(guestName, m.epoch), TLS: g.tls(m.to), Peer: m.from, Listen: []string{g.address(m.to) + ":0"},
		RAMBytes: ram, TimeoutS: ourLimitS * 2})
	if err != nil {
		return err
	}
	defer destination.kill()
	var addresses []string
	select {
	case addresses = <-destination.addresses:
	case <-destination.done:
		return fmt.Errorf("the destination's gateway ended early: %+v", destination.result)
	case <-time.After(startWait):
		return errors.New("the destination's gateway does not listen")
	}
	if err := m.begin(); err != nil {
		return err
	}
	source, err := g.startGateway(m.from, "source", dir, gateway.SourceConfig{Move: id, Guest: guestName,
		QMP: g.runners[m.from].MoveSocket(guestName, g.epoch), RunDir: dir, Policy: policy, TLS: g.tls(m.from), Peer: m.to, Addresses: addresses,
		BudgetMs: budgetMs, MarginMs: marginMs, Connections: connections, RAMBytes: ram, TimeoutS: ourLimitS})
	if err != nil {
		return err
	}
	defer source.kill()
	if err := await(ctx, source, destination); err != nil {
		return err
	}
	m.note(source, destination)
	_, err = os.Lstat(filepath.Join(dir, gateway.CommittedMarker))
	m.committed = err == nil
	return nil
}

func await(ctx context.Context, ends ...*end) error {
	for _, e := range ends {
		select {
		case <-e.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// note takes over what the gateways say.
func (m *measurement) note(source, destination *end) {
	m.row.GatewayCPUS = source.cpuSeconds() + destination.cpuSeconds()
	m.row.GatewayPeakBytes = max(source.peak(), destination.peak())
	m.row.FirstPassS = source.firstPass.Seconds()
	m.row.Outcome, m.row.Reason = failed, "the source's gateway ended without a word"
	if r := source.result; r != nil {
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
