package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"time"

	"bumpless/appliance/guest"
	"bumpless/appliance/pki"
	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/link"
)

// hosts of the bench.
var hosts = []string{"src", "dst"}

func other(host string) string {
	if host == hosts[0] {
		return hosts[1]
	}
	return hosts[0]
}

const guestName = "prot"

// rig is two hosts without daemons: a guest on one of them, and what is needed
// to bring it to the other one. It is there and back again: a guest that has
// moved moves back in the next run.
type rig struct {
	dir      string
	binary   string // bumpless
	cache    string // of the protection guest
	bed      *testbed.Bed
	observer *testbed.Observer

	load      load
	settings  protection.Settings
	runners   map[string]*guest.Runner
	at        string // host of the guest; "" before the first boot
	epoch     uint64 // of the copy that runs
	last      uint64 // epoch that was given out
	bootID    uint32
	corrupt   uint64 // pages that the guest has found since it booted
	failures  uint64 // of its load's programs
	cable     cable
	bytesPerS float64 // measured on the link
	endDelay  func() error
}

func newRig(dir, binary, cache string) (*rig, error) {
	g := &rig{dir: dir, binary: binary, cache: cache, runners: map[string]*guest.Runner{}}
	var err error
	if g.bed, err = testbed.New(testbed.Options{Hosts: hosts, Dir: dir}); err != nil {
		return nil, err
	}
	ports := map[string]string{}
	for _, host := range hosts {
		ports[host] = testbed.Port(host, testbed.Bus)
	}
	g.observer, err = testbed.NewObserver(ports)
	return g, errors.Join(err, g.certificates())
}

func (g *rig) certificates() error {
	a, err := pki.Init(filepath.Join(g.dir, "pki"), "bench")
	if err != nil {
		return err
	}
	for _, host := range hosts {
		if err := a.Host(host, net.ParseIP(g.address(host))); err != nil {
			return err
		}
	}
	return nil
}

func (g *rig) tls(host string) link.Files {
	dir := filepath.Join(g.dir, "pki")
	return link.Files{Cert: filepath.Join(dir, host+".crt"), Key: filepath.Join(dir, host+".key"), CA: filepath.Join(dir, "ca.crt")}
}

func (g *rig) close() error {
	if g.observer != nil {
		g.observer.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	return errors.Join(g.shutDown(ctx), g.setDelay(0), g.bed.Close())
}

// Bounds of what the bench waits for.
const (
	killWait   = 10 * time.Second
	startWait  = 30 * time.Second
	bootWait   = 2 * time.Minute
	roundWait  = 5 * time.Minute // for the first round of a load of programs, under emulation
	verifyWait = 2 * time.Minute
)

// shutDown kills every copy of the guest.
func (g *rig) shutDown(ctx context.Context) error {
	var errs []error
	for host := range g.runners {
		errs = append(errs, g.kill(ctx, host, g.last))
	}
	g.at = ""
	return errors.Join(errs...)
}

func (g *rig) kill(ctx context.Context, host string, upTo uint64) error {
	_, err := g.runners[host].Kill(ctx, guestName, upTo)
	return err
}

// spec of the load's guest.
func (g *rig) spec(l load) guest.Spec {
	s := guest.Spec{Name: guestName, MemoryMiB: l.memoryMiB(), VCPUs: 1, Machine: "pc-q35-10.0", CPU: "max", Accel: "tcg",
		Kernel: filepath.Join(g.cache, "guest-vmlinuz"), Initrd: filepath.Join(g.cache, "guest-initrd"),
		Cmdline: testbed.BootLine + " " + g.settings.CommandLine(), MAC: "52:54:00:00:00:01", Bridge: testbed.BusBridge}
	if l.program != "" {
		s.Disks = []guest.Disk{{Path: g.userland(), Format: "raw", ReadOnly: true}}
	}
	return s
}

// userland is the image that `make guest-userland` builds.
func (g *rig) userland() string { return filepath.Join(g.cache, "guest-userland.img") }

// boot starts a guest with the load on the first host, and waits until it has
// filled its memory and verified it once. A load of programs has then ended its
// first round: its servers run, its files are read, its data is there.
func (g *rig) boot(ctx context.Context, l load) error {
	if err := g.shutDown(ctx); err != nil {
		return err
	}
	g.load, g.settings = l, protection.Defaults()
	g.settings.Dirty, g.settings.Load = l.regions, l.program
	if _, err := os.Stat(g.userland()); err != nil && l.program != "" {
		return fmt.Errorf("boot the guest for %s: %w: run `make guest-userland`", l.name, err)
	}
	for _, host := range hosts {
		g.runners[host] = &guest.Runner{RunDir: filepath.Join(g.dir, host), Binary: "qemu-system-x86_64", Specs: map[string]guest.Spec{guestName: g.spec(l)}}
	}
	began := time.Now()
	epoch, err := g.start(ctx, hosts[0], false)
	if err != nil {
		return err
	}
	g.at, g.epoch = hosts[0], epoch
	wait := bootWait
	if l.program != "" {
		wait += roundWait
	}
	seen, err := g.observer.Wait(g.settings.GocbRef, wait, func(s testbed.Sighting) bool {
		r := s.Report
		return s.At.After(began) && r.VerifyPasses >= 2 && (l.program == "" || r.LoadRounds > 0 || r.LoadFailures > 0)
	})
	if err == nil && seen.Report.LoadFailures > 0 {
		err = errors.New("its load fails")
	}
	if err != nil {
		return fmt.Errorf("boot the guest for %s: %w; console: %s", l.name, err, g.console())
	}
	g.bootID, g.corrupt, g.failures = seen.Report.BootID, seen.Report.CorruptPages, 0
	return nil
}

// console is the end of what the guest said, for a message.
func (g *rig) console() string {
	ctx, cancel := context.WithTimeout(context.Background(), killWait)
	defer cancel()
	text, err := g.runners[g.at].Console(ctx, guestName, g.epoch)
	if err != nil {
		return err.Error()
	}
	return text[max(0, len(text)-2000):]
}

// start starts a copy in the host's network.
func (g *rig) start(ctx context.Context, host string, incoming bool) (epoch uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	g.last++
	return g.last, g.bed.Host(host).InNetwork(func() error { return g.runners[host].Start(ctx, guestName, g.last, incoming) })
}

func (g *rig) pid(host string, epoch uint64) (int, error) {
	copies, err := g.runners[host].Find()
	if err != nil {
		return 0, err
	}
	for _, c := range copies {
		if c.Epoch == epoch {
			return c.PID, nil
		}
	}
	return 0, fmt.Errorf("copy %d of the guest on %s is gone", epoch, host)
}

// verify waits until the guest has passed over its memory twice: the second
// pass that ends has begun here and now. It returns the pages that it has newly
// found corrupt. A guest that rebooted or went silent is an error.
func (g *rig) verify() (uint64, error) {
	from := time.Now()
	here := func(s testbed.Sighting) bool { return s.At.After(from) && s.Source == g.at }
	first, err := g.observer.Wait(g.settings.GocbRef, verifyWait, here)
	if err != nil {
		return 0, err
	}
	s, err := g.observer.Wait(g.settings.GocbRef, verifyWait, func(s testbed.Sighting) bool {
		return here(s) && (s.Report.VerifyPasses >= first.Report.VerifyPasses+2 || s.Report.BootID != g.bootID)
	})
	if err != nil {
		return 0, err
	}
	if s.Report.BootID != g.bootID {
		return 0, errors.New("the guest has rebooted")
	}
	if failed := s.Report.LoadFailures - g.failures; failed > 0 {
		g.failures += failed
		return 0, fmt.Errorf("the guest's load failed %d times; console: %s", failed, g.console())
	}
	found := s.Report.CorruptPages - g.corrupt
	g.corrupt += found
	return found, nil
}

// linkBytes that crossed the link so far, both ways.
func (g *rig) linkBytes() (sum int64, err error) {
	for _, host := range hosts {
		n, err := g.bed.LinkBytes(host)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// afterglow: the guest's code is translated anew for that long at the
// destination (TCG), and what it takes counts as blackout.
const afterglow = time.Second

// blackout since began: the largest gap until a second after the guest came
// over, or after end if it did not, less the period.
func (g *rig) blackout(from string, began, end time.Time) time.Duration {
	seen := g.observer.Between(g.settings.GocbRef, began, time.Now())
	return blackout(seen, from, end, g.settings.GoosePeriod)
}

// blackout needs the second after end too: a gap ends with the guest's next
// frame, which is later than the hypervisor's word that it runs on.
func blackout(seen testbed.Sightings, from string, end time.Time, period time.Duration) time.Duration {
	for _, s := range seen {
		if s.Source != from {
			end = s.At
			break
		}
	}
	last := sort.Search(len(seen), func(i int) bool { return seen[i].At.After(end.Add(afterglow)) })
	gap, _ := seen[:last].LargestGap()
	return max(0, gap-period)
}
