package raftlog

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bumpless/ha/core"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
)

// Peer is one voter of the site, this host included.
type Peer struct {
	// ID is the host's name, and the DNS name in its certificate.
	ID string
	// Addresses ("ip:port") in order of preference, one for each LAN. They
	// are dialled nearly together, so that a dead LAN costs no election.
	Addresses []string
}

// Config of the log on one host.
type Config struct {
	ID string
	// Dir holds raft.db and the snapshots; created if missing. It must be on
	// a disk that survives a power cut: votes are kept there.
	Dir string
	// Bind lists the addresses to listen at, one for each LAN.
	Bind []string
	// Peers are all voters; equal on all hosts.
	Peers []Peer
	// TLS holds this host's certificate and, as RootCAs and ClientCAs, the
	// site's. The remaining fields are set here.
	TLS *tls.Config
	// Logger receives raft's own lines; nil drops them.
	Logger *slog.Logger
	// Election is how long a silent leader is borne before the others elect a
	// new one. Shorter: quicker failover; too short: elections on a busy
	// machine. Zero is DefaultElection.
	Election time.Duration
}

// DefaultElection rides out scheduling gaps of a machine that boots guests.
const DefaultElection = time.Second

// The log is kept short: a State is a few kilobytes, so that a snapshot is
// cheaper than the commands that it replaces.
const (
	snapshotEvery    = 30 * time.Second // looked for this often
	snapshotCommands = 512              // and taken after so many entries
	trailingCommands = 1024             // kept for followers that lag a little
	snapshotsKept    = 2
	startTimeout     = 10 * time.Second // for locks on the store
)

// Log is a running replica.
type Log struct {
	cfg    Config
	raft   *raft.Raft
	store  *raftboltdb.BoltStore
	stream *stream
	fsm    *fsm
	hub    *hub

	stop chan struct{}
	done sync.WaitGroup

	mu sync.Mutex
	// ready is the term in which this host leads AND has applied everything
	// of earlier leaders; 0 when it does not.
	ready uint64
	// barrier is the raft index up to which ready has been applied.
	barrier uint64
}

// Open starts the replica. With an empty store it begins the site's first
// configuration, which is the same on every host.
func Open(cfg Config) (*Log, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("open replicated log of host %q: %w", cfg.ID, err)
	}
	if cfg.Election == 0 {
		cfg.Election = DefaultElection
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Log{cfg: cfg, stop: make(chan struct{}), hub: newHub()}
	l.fsm = newFSM(l.hub)
	if err := l.open(); err != nil {
		l.closeParts()
		return nil, fmt.Errorf("open replicated log in %s: %w", cfg.Dir, err)
	}
	l.done.Add(1)
	go l.watchLeadership()
	return l, nil
}

func (c Config) check() error {
	seen := map[string]bool{}
	for _, p := range c.Peers {
		if p.ID == "" || len(p.Addresses) == 0 {
			return fmt.Errorf("peer %q has %d addresses: a peer needs a name and at least one", p.ID, len(p.Addresses))
		}
		if seen[p.ID] {
			return fmt.Errorf("peer %q is listed twice", p.ID)
		}
		seen[p.ID] = true
	}
	switch {
	case !seen[c.ID]:
		return errors.New("this host is not among the peers: correct the site file")
	case len(c.Bind) == 0:
		return errors.New("no address to listen at")
	case c.TLS == nil || len(c.TLS.Certificates) == 0 || c.TLS.RootCAs == nil || c.TLS.ClientCAs == nil:
		return errors.New("TLS needs this host's certificate and the site's authority for both directions")
	}
	return nil
}

func (l *Log) open() error {
	if err := os.MkdirAll(l.cfg.Dir, 0o700); err != nil {
		return err
	}
	store, err := raftboltdb.New(raftboltdb.Options{Path: filepath.Join(l.cfg.Dir, "raft.db"),
		BoltOptions: &bbolt.Options{Timeout: startTimeout}, MsgpackUseNewTimeFormat: true})
	if err != nil {
		return fmt.Errorf("raft.db: %w (does another daemon of this host still run?)", err)
	}
	l.store = store
	logger := newLogger(l.cfg.Logger)
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(l.cfg.Dir, snapshotsKept, logger)
	if err != nil {
		return fmt.Errorf("snapshots: %w", err)
	}
	if l.stream, err = listen(l.cfg); err != nil {
		return err
	}
	transport := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: l.stream, MaxPool: 3, Timeout: l.cfg.Election, Logger: logger, MsgpackUseNewTimeFormat: true})
	rc := l.raftConfig()
	rc.Logger = logger
	if err := bootstrap(rc, l.cfg, store, snapshots, transport); err != nil {
		return err
	}
	if l.raft, err = raft.NewRaft(rc, l.fsm, store, store, snapshots, transport); err != nil {
		return err
	}
	l.stream.answerWith(l.raft.CurrentTerm)
	return nil
}

func (l *Log) raftConfig() *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(l.cfg.ID)
	rc.HeartbeatTimeout, rc.ElectionTimeout = l.cfg.Election, l.cfg.Election
	rc.LeaderLeaseTimeout = l.cfg.Election / 2
	rc.CommitTimeout = min(rc.CommitTimeout, l.cfg.Election/10)
	rc.SnapshotInterval, rc.SnapshotThreshold, rc.TrailingLogs = snapshotEvery, snapshotCommands, trailingCommands
	rc.ShutdownOnRemove = false
	return rc
}

func bootstrap(rc *raft.Config, cfg Config, store *raftboltdb.BoltStore, snaps raft.SnapshotStore, t raft.Transport) error {
	has, err := raft.HasExistingState(store, store, snaps)
	if err != nil || has {
		return err
	}
	var servers []raft.Server
	for _, p := range cfg.Peers {
		servers = append(servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Addresses[0])})
	}
	return raft.BootstrapCluster(rc, store, store, snaps, t, raft.Configuration{Servers: servers})
}

// State returns the newest applied state. It is a value that nobody changes.
func (l *Log) State() core.State { return l.fsm.current() }

// Leader returns the name of the leader as this host believes it, "" if unknown.
func (l *Log) Leader() string {
	_, id := l.raft.LeaderWithID()
	return string(id)
}

// Term in which this host leads and has applied everything of earlier leaders; 0
// when it does not.
func (l *Log) Term() uint64 {
	term, _ := l.leads()
	return term
}

// Close stops the replica and releases its store and ports.
func (l *Log) Close() error {
	close(l.stop)
	err := l.raft.Shutdown().Error()
	l.done.Wait()
	return errors.Join(err, l.closeParts())
}

func (l *Log) closeParts() error {
	var errs []error
	if l.stream != nil {
		errs = append(errs, l.stream.Close())
	}
	if l.store != nil {
		errs = append(errs, l.store.Close())
	}
	l.hub.close()
	return errors.Join(errs...)
}
