// Package pair is two hosts of the test bed without daemons: a guest on one of
// them, and what is needed to bring it to the other one and back again. Whoever
// uses it plays the two daemons and the log: a copy goes on only where theirs
// would let it.
package pair

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"bumpless/appliance/guest"
	"bumpless/appliance/pki"
	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/link"
)

// Hosts of every pair. A guest is booted on the first one.
var Hosts = []string{"src", "dst"}

// Other host of the two.
func Other(host string) string {
	if host == Hosts[0] {
		return Hosts[1]
	}
	return Hosts[0]
}

// Guest is the name of the guest.
const Guest = "prot"

// Pair of hosts with a guest.
type Pair struct {
	Dir      string // for everything that is written; a short path: a socket's has 108 bytes
	Binary   string // bumpless
	Bed      *testbed.Bed
	Observer *testbed.Observer

	Settings protection.Settings // of the guest
	Runners  map[string]*guest.Runner
	At       string // host of the guest; "" before the first boot
	Epoch    uint64 // of the copy that runs
	BootID   uint32

	last     uint64 // epoch that was given out
	corrupt  uint64 // pages that the guest has found since it booted
	failures uint64 // of its load's programs
}

// New builds the bed. Enter must have been called (package testbed).
func New(dir, binary string) (*Pair, error) {
	p := &Pair{Dir: dir, Binary: binary, Runners: map[string]*guest.Runner{}}
	var err error
	if p.Bed, err = testbed.New(testbed.Options{Hosts: Hosts, Dir: dir}); err != nil {
		return nil, err
	}
	ports := map[string]string{}
	for _, host := range Hosts {
		ports[host] = testbed.Port(host, testbed.Bus)
	}
	p.Observer, err = testbed.NewObserver(ports)
	return p, errors.Join(err, p.certificates())
}

func (p *Pair) certificates() error {
	a, err := pki.Init(filepath.Join(p.Dir, "pki"), "pair")
	if err != nil {
		return err
	}
	for _, host := range Hosts {
		if err := a.Host(host, net.ParseIP(p.Address(host, testbed.LANA)), net.ParseIP(p.Address(host, testbed.LANB))); err != nil {
			return err
		}
	}
	return nil
}

// TLS files of a host.
func (p *Pair) TLS(host string) link.Files {
	dir := filepath.Join(p.Dir, "pki")
	return link.Files{Cert: filepath.Join(dir, host+".crt"), Key: filepath.Join(dir, host+".key"), CA: filepath.Join(dir, "ca.crt")}
}

// Address of a host in a LAN.
func (p *Pair) Address(host, lan string) string {
	return testbed.Address(p.Bed.Host(host).Number, lan)
}

// Close ends every copy and both hosts.
func (p *Pair) Close() error {
	if p.Observer != nil {
		p.Observer.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), KillWait)
	defer cancel()
	return errors.Join(p.ShutDown(ctx), p.Bed.Close())
}

// Bounds of what is waited for.
const (
	KillWait   = 10 * time.Second
	StartWait  = 30 * time.Second
	BootWait   = 2 * time.Minute
	RoundWait  = 5 * time.Minute // for the first round of a load of programs, under emulation
	VerifyWait = 2 * time.Minute
)

// ShutDown kills every copy of the guest.
func (p *Pair) ShutDown(ctx context.Context) error {
	var errs []error
	for host := range p.Runners {
		errs = append(errs, p.Kill(ctx, host, p.last))
	}
	p.At = ""
	return errors.Join(errs...)
}

// Kill ends the copies on a host with an epoch up to upTo, and returns when
// they are gone.
func (p *Pair) Kill(ctx context.Context, host string, upTo uint64) error {
	_, err := p.Runners[host].Kill(ctx, Guest, upTo)
	return err
}

// Boot starts the guest on the first host and waits until it has filled its
// memory and verified it, and its disk if it has one to write to. A load of
// programs has then ended its first round: its servers run, its files are read,
// its data is there. specs are the guest's on each host; they must fit settings.
func (p *Pair) Boot(ctx context.Context, settings protection.Settings, specs func(host string) guest.Spec) error {
	if err := p.ShutDown(ctx); err != nil {
		return err
	}
	p.Settings = settings
	written := false
	for _, host := range Hosts {
		spec := specs(host)
		written = slices.ContainsFunc(spec.Disks, func(d guest.Disk) bool { return !d.ReadOnly })
		p.Runners[host] = &guest.Runner{RunDir: filepath.Join(p.Dir, host), Binary: "qemu-system-x86_64", Specs: map[string]guest.Spec{Guest: spec}}
	}
	began := time.Now()
	epoch, err := p.Start(ctx, Hosts[0], false)
	if err != nil {
		return err
	}
	p.At, p.Epoch = Hosts[0], epoch
	seen, err := p.booted(began, written)
	if err != nil {
		return fmt.Errorf("boot the guest: %w; console: %s", err, p.Console())
	}
	p.BootID, p.corrupt, p.failures = seen.Report.BootID, seen.Report.CorruptPages, 0
	return nil
}

func (p *Pair) booted(began time.Time, written bool) (testbed.Sighting, error) {
	wait, program := BootWait, p.Settings.Load != ""
	if program {
		wait += RoundWait
	}
	seen, err := p.Observer.Wait(p.Settings.GocbRef, wait, func(s testbed.Sighting) bool {
		r := s.Report
		return s.At.After(began) && r.VerifyPasses >= 2 && (!written || r.DiskPasses > 0) && (!program || r.LoadRounds > 0 || r.LoadFailures > 0)
	})
	if err == nil && seen.Report.LoadFailures > 0 {
		err = errors.New("its load fails")
	}
	return seen, err
}

// Console is the end of what the guest said, for a message.
func (p *Pair) Console() string {
	ctx, cancel := context.WithTimeout(context.Background(), KillWait)
	defer cancel()
	text, err := p.Runners[p.At].Console(ctx, Guest, p.Epoch)
	if err != nil {
		return err.Error()
	}
	return text[max(0, len(text)-2000):]
}

// Start starts a copy in the host's network, and returns its epoch.
func (p *Pair) Start(ctx context.Context, host string, incoming bool) (epoch uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, StartWait)
	defer cancel()
	p.last++
	return p.last, p.Bed.Host(host).InNetwork(func() error { return p.Runners[host].Start(ctx, Guest, p.last, incoming) })
}

// PID of a copy's process.
func (p *Pair) PID(host string, epoch uint64) (int, error) {
	c, found, err := p.copy(host, epoch)
	if err == nil && !found {
		err = fmt.Errorf("copy %d of the guest on %s is gone", epoch, host)
	}
	return c.PID, err
}

// State of a copy; "" when there is none.
func (p *Pair) State(ctx context.Context, host string, epoch uint64) (guest.State, error) {
	c, found, err := p.copy(host, epoch)
	if err != nil || !found {
		return "", err
	}
	return p.Runners[host].Look(ctx, c), nil
}

func (p *Pair) copy(host string, epoch uint64) (guest.Copy, bool, error) {
	copies, err := p.Runners[host].Find()
	if err != nil {
		return guest.Copy{}, false, err
	}
	for _, c := range copies {
		if c.Epoch == epoch {
			return c, true, nil
		}
	}
	return guest.Copy{}, false, nil
}

// Arrived notes that the guest runs on the other host, as that copy.
func (p *Pair) Arrived(host string, epoch uint64) error {
	p.At, p.Epoch = host, epoch
	return p.Runners[host].MarkRan(Guest, epoch)
}
