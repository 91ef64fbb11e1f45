package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"bumpless/appliance/api"
	"bumpless/appliance/config"
	"bumpless/ha/core"
	"bumpless/ha/raftlog"
	"bumpless/migrate/link"
)

// Node is one host's daemon.
type Node struct {
	site   config.Site
	self   config.Host
	timing core.Timing
	log    *slog.Logger
	ctx    context.Context // ends with the daemon
	stop   context.CancelFunc

	raft       *raftlog.Log
	admission  *admission
	peers      map[string]*api.Client
	hypervisor *hypervisor
	watchdog   *petting
	loop       *loop
	jobs       inFlight
	leases     leaseDesk
	expected   expected
	moves      moves
	traces     traces
	wakings    wakings
	progress   progressHub
	observing  sync.Mutex
	binary     string // this program, for gateways
}

// Options of a daemon.
type Options struct {
	Site config.Site
	Host string
	Log  *slog.Logger
}

// Run is the daemon; it returns when ctx ends or something it cannot live
// without fails. Guests live on.
func Run(ctx context.Context, o Options) error {
	self, ok := o.Site.Host(o.Host)
	if !ok {
		return fmt.Errorf("run host %s: the site file does not name it", o.Host)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := &Node{site: o.Site, self: self, timing: timing(o.Site.Timing), log: o.Log.With("host", self.Name), ctx: ctx, stop: cancel}
	if err := n.timing.Validate(); err != nil {
		return err
	}
	n.log.Info("start", "site", o.Site.Site, "timing", n.timing.ExplainWaitingPeriod())
	if err := n.build(); err != nil {
		return fmt.Errorf("run host %s: %w", self.Name, err)
	}
	defer n.raft.Close()
	return n.serve(ctx)
}

func timing(t config.Timing) core.Timing {
	c := core.DefaultTiming()
	c.Lease, c.LeaderLease, c.DriftPPM = config.Ms(t.LeaseMs), config.Ms(t.LeaderLeaseMs), t.ClockDriftPPM
	c.WatchdogTimeout, c.ResetTime, c.PetInterval = config.Ms(t.WatchdogTimeoutMs), config.Ms(t.ResetTimeMs), config.Ms(t.PetIntervalMs)
	return c
}

func (n *Node) build() error {
	var err error
	if n.binary, err = os.Executable(); err != nil {
		return err
	}
	if err := os.MkdirAll(n.site.RunDir, 0o700); err != nil {
		return fmt.Errorf("make the run directory: %w", err)
	}
	tlsConfig, err := n.certificates().Load()
	if err != nil {
		return err
	}
	n.peers = map[string]*api.Client{}
	for _, h := range n.site.Hosts {
		if h.Name != n.self.Name {
			n.peers[h.Name] = api.NewClient(h.Name, h.Addresses(), h.APIPort, tlsConfig)
		}
	}
	n.hypervisor = newHypervisor(n.site, n.self)
	if err := n.wakings.open(filepath.Join(n.site.StateDir, "waking.json")); err != nil {
		n.log.Warn("begin anew: the site's move.waking_ms counts", "error", err)
	}
	n.watchdog = newPetting(n.watchdogOpener(), n.timing, n.log)
	if n.raft, err = n.openLog(tlsConfig); err != nil {
		return err
	}
	n.admission = n.newAdmission()
	return nil
}

func (n *Node) certificates() link.Files {
	dir := n.site.PKIDir
	return link.Files{Cert: filepath.Join(dir, n.self.Name+".crt"), Key: filepath.Join(dir, n.self.Name+".key"), CA: filepath.Join(dir, "ca.crt")}
}

func (n *Node) openLog(tlsConfig *tls.Config) (*raftlog.Log, error) {
	cfg := raftlog.Config{ID: n.self.Name, Dir: filepath.Join(n.site.StateDir, "raft"), Bind: listenAt(n.self.Addresses(), n.self.RaftPort),
		TLS: tlsConfig, Logger: n.log.With("part", "raft"), Election: config.Ms(n.site.Timing.ElectionMs)}
	for _, h := range n.site.Hosts {
		cfg.Peers = append(cfg.Peers, raftlog.Peer{ID: h.Name, Addresses: listenAt(h.Addresses(), h.RaftPort)})
	}
	return raftlog.Open(cfg)
}

func listenAt(addresses []string, port int) (list []string) {
	for _, a := range addresses {
		list = append(list, net.JoinHostPort(a, strconv.Itoa(port)))
	}
	return list
}

// serve runs everything until ctx ends.
func (n *Node) serve(ctx context.Context) error {
	role := core.Role(n.self.Role)
	n.loop = newLoop(core.New(core.Config{Self: n.self.Name, Role: role, Timing: n.timing}, now()), n.do)
	n.loop.beat = n.watchdog.beat("loop")
	failed := make(chan error, 4)
	server, err := n.listen(failed)
	if err != nil {
		return err
	}
	defer server.Close()
	// As late as can be: from here on the host is reset unless it is petted.
	if err := n.armIdle(); err != nil {
		return err
	}
	var wait sync.WaitGroup
	run := func(f func()) {
		wait.Add(1)
		go func() { defer wait.Done(); f() }()
	}
	run(func() { n.loop.run(ctx, n.timing.PetInterval/2) })
	run(func() { n.watchdog.run(ctx) })
	run(func() { n.followLog(ctx) })
	if role == core.Server {
		run(n.observeRegularly)
	}
	run(func() { n.serveConsole(ctx) })
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	n.moves.abandon()
	n.handOver()
	n.stop()
	server.Close()
	if !within(endWait, func() { wait.Wait(); n.jobs.wait.Wait() }) {
		n.log.Warn("the daemon ends although a part of it still runs", "waited", endWait)
	}
	return err
}

// Bounds of an end in order. Nobody pets meanwhile: together they stay below
// the watchdog's usual 4 s, so that a restart of the daemon is no reset.
const (
	handOverWait = time.Second
	endWait      = 2 * time.Second
)

// handOver gives the leadership away, so that the others need no election.
func (n *Node) handOver() {
	if n.raft.Leader() != n.self.Name {
		return
	}
	if !within(handOverWait, func() {
		if err := n.raft.StepDown(); err != nil {
			n.log.Info("the other hosts will elect a leader", "error", err)
		}
	}) {
		n.log.Warn("the leadership was not taken over in time", "waited", handOverWait)
	}
}

// within tells whether f ended in that time; it runs on if not.
func within(limit time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// listen opens the control API at every address and at the unix socket.
func (n *Node) listen(failed chan<- error) (*api.Server, error) {
	server := api.NewServer(n.self.Name, n, n, n.log.With("part", "api"))
	tlsConfig, err := n.certificates().Load()
	if err != nil {
		return nil, err
	}
	path := SocketPath(n.site)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	local, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("make the control socket: %w", err)
	}
	go func() { failed <- server.Serve(local, nil) }()
	for _, a := range listenAt(n.self.Addresses(), n.self.APIPort) {
		l, err := net.Listen("tcp", a)
		if err != nil {
			server.Close()
			return nil, fmt.Errorf("listen for the control API: %w", err)
		}
		go func() { failed <- server.Serve(l, tlsConfig) }()
	}
	return server, nil
}

// SocketPath is where the daemon of this host listens for its own root.
func SocketPath(s config.Site) string { return filepath.Join(s.RunDir, "api.sock") }

// followLog brings the replicated state and leadership to the loop.
func (n *Node) followLog(ctx context.Context) {
	updates, cancel := n.raft.Subscribe()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case u, open := <-updates:
			if !open {
				return
			}
			if u.State != nil {
				n.loop.post(ctx, core.StateChanged{State: *u.State})
			}
			if u.Leader != nil {
				n.log.Info("leadership", "leads", u.Leader.Leads, "term", u.Leader.Term)
				n.loop.post(ctx, core.LeadershipChanged{Leader: u.Leader.Leads, Term: u.Leader.Term})
				if u.Leader.Leads {
					go n.register(ctx)
				}
			}
		}
	}
}

// register enters the site file's hosts and guests into the log, as far as the
// log does not know them.
func (n *Node) register(ctx context.Context) {
	by := core.Order{Name: n.self.Name, Role: core.RoleHost, AtMs: time.Now().UnixMilli()}
	for _, h := range n.site.Hosts {
		c := core.RegisterHost{Name: h.Name, Role: core.Role(h.Role), MemoryMiB: h.MemoryForGuestsMiB}
		if was, known := n.raft.State().Hosts[h.Name]; known && was.Role == c.Role && was.MemoryMiB == c.MemoryMiB {
			continue
		}
		n.enterOwn(ctx, core.Command{Version: core.CommandVersion, By: by, RegisterHost: &c})
	}
	for _, g := range n.site.Guests {
		c := core.RegisterGuest{Wanted: g.Starts(), GuestSpec: core.GuestSpec{Name: g.Name, Spec: g.Name, MemoryMiB: g.MemoryMiB,
			Group: g.RedundancyGroup, BudgetMs: g.BudgetMs, Preferred: g.PreferredHost, LocalDisk: hasLocalDisk(g)}}
		if was, known := n.raft.State().Guests[g.Name]; known && was.GuestSpec == c.GuestSpec {
			continue
		}
		n.enterOwn(ctx, core.Command{Version: core.CommandVersion, By: by, RegisterGuest: &c})
	}
}

func (n *Node) enterOwn(ctx context.Context, c core.Command) {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	if r, err := n.raft.Propose(ctx, c); err != nil || !r.OK() {
		n.log.Warn("enter the site file into the log", "error", err, "refused", r.Text)
	}
}
