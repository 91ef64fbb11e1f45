package testbed

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"bumpless/appliance/guest"
	"bumpless/appliance/pki"
	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/gateway"
	"bumpless/migrate/link"
)

// rig is two "hosts" without daemons: two runners, two gateways and a bus each.
// It tests what a move does; who may move is the daemons' business.
type rig struct {
	t        *testing.T
	dir      string
	spec     guest.Spec
	runners  map[string]*guest.Runner
	observer *Observer
	settings protection.Settings
	epoch    uint64
	moves    int
}

const (
	srcHost, dstHost = "src", "dst"
	rigGuest         = "prot"
)

// guestFile is made by `make guest`.
func guestFile(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../out/cache/" + name)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("the protection guest is missing (%v): run `make guest`", err)
	}
	return path
}

func protectionSpec(t *testing.T, s protection.Settings) guest.Spec {
	return guest.Spec{Name: rigGuest, MemoryMiB: 160, VCPUs: 1, Machine: "pc-q35-10.0", CPU: "max", Accel: "tcg",
		Kernel: guestFile(t, "guest-vmlinuz"), Initrd: guestFile(t, "guest-initrd"),
		Cmdline: BootLine + " " + s.CommandLine(), MAC: "52:54:00:00:00:01"}
}

func newRig(t *testing.T, dirty ...protection.Region) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), runners: map[string]*guest.Runner{}, settings: protection.Defaults(), epoch: 1}
	if dirty != nil {
		r.settings.Dirty = dirty
	}
	r.spec = protectionSpec(t, r.settings)
	a, err := pki.Init(r.dir+"/pki", "rig")
	must(t, err)
	ports := map[string]string{}
	for _, host := range []string{srcHost, dstHost} {
		must(t, a.Host(host))
		must(t, ip("link add", "br-"+host, "type bridge stp_state 0 mcast_snooping 0 forward_delay 0"))
		must(t, ip("link set", "br-"+host, "up"))
		t.Cleanup(func() { _ = ip("link del", "br-"+host) })
		spec := r.spec
		spec.Bridge = "br-" + host
		runDir, err := os.MkdirTemp("", host) // short: a socket's path has 108 bytes
		must(t, err)
		t.Cleanup(func() { os.RemoveAll(runDir) })
		r.runners[host] = &guest.Runner{RunDir: runDir, Binary: "qemu-system-x86_64", Specs: map[string]guest.Spec{rigGuest: spec}}
		ports[host] = "br-" + host
	}
	r.observer, err = NewObserver(ports)
	must(t, err)
	t.Cleanup(r.observer.Close)
	t.Cleanup(func() {
		for _, host := range []string{srcHost, dstHost} {
			_, _ = r.runners[host].Kill(context.Background(), rigGuest, 1<<60)
		}
	})
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// boot starts the guest on src and waits until it has verified its memory.
func (r *rig) boot() {
	r.t.Helper()
	must(r.t, r.runners[srcHost].Start(r.within(60*time.Second), rigGuest, r.epoch, false))
	_, err := r.observer.Wait(r.settings.GocbRef, 2*time.Minute, func(s Sighting) bool { return s.Report.VerifyPasses >= 1 })
	if err != nil {
		text, _ := r.runners[srcHost].Console(r.within(time.Second), rigGuest, r.epoch)
		r.t.Fatalf("%v; console: %s", err, text)
	}
}

func (r *rig) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	r.t.Cleanup(cancel)
	return ctx
}

// side is a gateway process.
type side struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	events chan gateway.Event
}

func (r *rig) start(role string, config any) *side {
	r.t.Helper()
	s := &side{t: r.t, name: role, cmd: exec.Command("/proc/self/exe", "gateway", role), events: make(chan gateway.Event, 1000)}
	var err error
	s.stdin, err = s.cmd.StdinPipe()
	must(r.t, err)
	out, err := s.cmd.StdoutPipe()
	must(r.t, err)
	s.cmd.Stderr = os.Stderr
	must(r.t, s.cmd.Start())
	r.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	must(r.t, json.NewEncoder(s.stdin).Encode(config))
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e gateway.Event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				s.events <- e
			}
		}
		_ = s.cmd.Wait()
		close(s.events)
	}()
	return s
}

// until returns the first event that ok accepts; nil when the process ended.
func (s *side) until(what string, ok func(gateway.Event) bool) *gateway.Event {
	s.t.Helper()
	limit := time.After(2 * time.Minute)
	for {
		select {
		case e, open := <-s.events:
			if !open {
				return nil
			}
			if e.Pass != nil && testing.Verbose() {
				s.t.Logf("%s: pass %+v", s.name, *e.Pass)
			}
			if ok(e) {
				return &e
			}
		case <-limit:
			s.t.Fatalf("%s gateway: waited two minutes for %s", s.name, what)
		}
	}
}

func (s *side) phase(p gateway.Phase) *gateway.Event {
	s.t.Helper()
	return s.until(string(p), func(e gateway.Event) bool { return e.Phase == p || e.Result != nil })
}

func (s *side) result() *gateway.Result {
	s.t.Helper()
	e := s.until("the result", func(e gateway.Event) bool { return e.Result != nil && e.Phase == "" })
	if e == nil {
		return nil
	}
	return e.Result
}

// move is a move under way from src to dst.
type move struct {
	*rig
	source, destination *side
	runDir              string
	epoch               uint64
	began               time.Time
}

func (r *rig) begin(change func(*gateway.SourceConfig, *gateway.DestinationConfig)) *move {
	r.t.Helper()
	r.moves++
	m := &move{rig: r, runDir: filepath.Join(r.dir, fmt.Sprint("move", r.moves)), epoch: r.epoch + uint64(r.moves), began: time.Now()}
	must(r.t, os.Mkdir(m.runDir, 0o700))
	must(r.t, r.runners[dstHost].Start(r.within(60*time.Second), rigGuest, m.epoch, true))
	id := fmt.Sprintf("%s-%d", rigGuest, m.epoch)
	d := gateway.DestinationConfig{Move: id, Guest: rigGuest, QMP: r.runners[dstHost].MoveSocket(rigGuest, m.epoch),
		TLS: r.tls(dstHost), Peer: srcHost, Listen: []string{"127.0.0.1:0"}, RAMBytes: 1 << 30}
	s := gateway.SourceConfig{Move: id, Guest: rigGuest, QMP: r.runners[srcHost].MoveSocket(rigGuest, r.epoch), RunDir: m.runDir,
		Policy: "bumpless", TLS: r.tls(srcHost), Peer: dstHost, BudgetMs: 300, MarginMs: 50}
	if change != nil {
		change(&s, &d)
	}
	m.destination = r.start("destination", d)
	e := m.destination.phase(gateway.Connecting)
	if e == nil || len(e.Addresses) == 0 {
		r.t.Fatalf("the destination does not listen: %+v", e)
	}
	s.Addresses = e.Addresses
	m.source = r.start("source", s)
	return m
}

func (r *rig) tls(host string) link.Files {
	return link.Files{Cert: r.dir + "/pki/" + host + ".crt", Key: r.dir + "/pki/" + host + ".key", CA: r.dir + "/pki/ca.crt"}
}

// runsOnlyOn checks, from outside, where the guest runs: exactly one copy, on
// that host, intact. It watches for a while.
func (m *move) runsOnlyOn(host string) {
	m.t.Helper()
	from := time.Now()
	start, err := m.observer.Wait(m.settings.GocbRef, 30*time.Second, func(s Sighting) bool { return s.At.After(from) && s.Source == host })
	if err != nil {
		m.t.Fatal(err)
	}
	_, err = m.observer.Wait(m.settings.GocbRef, time.Minute, func(s Sighting) bool { return s.Report.VerifyPasses >= start.Report.VerifyPasses+2 })
	if err != nil {
		m.t.Fatal("the guest does not finish verifying its memory:", err)
	}
	for _, s := range m.observer.Between(m.settings.GocbRef, from, time.Now())[1:] {
		if s.Source != host {
			m.t.Fatalf("the guest was heard on %s too", s.Source)
		}
		if s.Report.CorruptPages != 0 {
			m.t.Fatalf("%d corrupt pages", s.Report.CorruptPages)
		}
	}
	all := m.observer.Between(m.settings.GocbRef, m.began, time.Now())
	if n := all.CopiesMax(); n != 1 {
		m.t.Fatalf("%d copies ran at the same moment", n)
	}
}

// blackout is the largest gap since the move began, less the period.
func (m *move) blackout() time.Duration {
	m.t.Helper()
	seen := m.observer.Between(m.settings.GocbRef, m.began, time.Now())
	gap, at := seen.LargestGap()
	for i := 1; i < len(seen); i++ {
		if seen[i-1].At.Equal(at) {
			m.t.Logf("largest gap %v, %v after the move began; before and after: %+v", gap, at.Sub(m.began), seen[i-1:i+1])
		}
	}
	return gap - m.settings.GoosePeriod
}
