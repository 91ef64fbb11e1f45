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
	site     *pki.Authority
	at       string // where the guest runs, as its copy number epoch
	epoch    uint64
	last     uint64 // copy number that was given out
	bootID   uint32
	// enter, if set, starts a gateway in its host's own network.
	enter func(role string, start func() error) error
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

func newRig(t *testing.T, verifyPassMs int, dirty ...protection.Region) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), runners: map[string]*guest.Runner{}, settings: protection.Defaults(), at: srcHost, epoch: 1, last: 1}
	r.settings.VerifyPassMs = verifyPassMs
	if dirty != nil {
		r.settings.Dirty = dirty
	}
	r.spec = protectionSpec(t, r.settings)
	a, err := pki.Init(r.dir+"/pki", "rig")
	must(t, err)
	r.site = a
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
	seen, err := r.observer.Wait(r.settings.GocbRef, 2*time.Minute, func(s Sighting) bool { return s.Report.VerifyPasses >= 1 })
	r.bootID = seen.Report.BootID
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

// side is a gateway process, and its daemon's end of it.
type side struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Closer
	events chan gateway.Event
	ended  *gateway.Result // what the last line said
	done   chan struct{}   // the process has ended
}

func (r *rig) start(role string, config any) *side {
	r.t.Helper()
	s := &side{t: r.t, name: role, cmd: exec.Command("/proc/self/exe", "gateway", role), events: make(chan gateway.Event, 10_000), done: make(chan struct{})}
	var err error
	s.stdin, err = s.cmd.StdinPipe()
	must(r.t, err)
	out, err := s.cmd.StdoutPipe()
	must(r.t, err)
	s.stdout = out
	s.cmd.Stderr = os.Stderr
	if r.enter != nil {
		err = r.enter(role, s.cmd.Start)
	} else {
		err = s.cmd.Start()
	}
	must(r.t, err)
	r.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	must(r.t, json.NewEncoder(s.stdin).Encode(config))
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e gateway.Event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				if e.Result != nil && e.Phase == "" {
					s.ended = e.Result
				}
				s.events <- e
			}
		}
		_ = s.cmd.Wait() // its last line, if there is one, says how it ended
		close(s.done)
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

// result waits for the end of the process; nil when it ended without a word.
func (s *side) result() *gateway.Result {
	s.t.Helper()
	s.until("its end", func(gateway.Event) bool { return false })
	return s.ended
}

// say sends a command of the daemon.
func (s *side) say(word string) { _, _ = fmt.Fprintf(s.stdin, "{\"command\":%q}\n", word) } // it may have ended

// kill ends the process as the kernel would.
func (s *side) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.done
}

// move is a move under way.
type move struct {
	*rig
	source, destination *side
	from, to            string
	runDir              string
	incoming            uint64 // copy number at the destination
	began               time.Time
}

func other(host string) string {
	if host == srcHost {
		return dstHost
	}
	return srcHost
}

// begin begins to move the guest to the other host.
func (r *rig) begin(change func(*gateway.SourceConfig, *gateway.DestinationConfig)) *move {
	r.t.Helper()
	m, s := r.prepare(change)
	m.source = r.start("source", s)
	return m
}

// prepare does all but start the source's gateway.
func (r *rig) prepare(change func(*gateway.SourceConfig, *gateway.DestinationConfig)) (*move, gateway.SourceConfig) {
	r.t.Helper()
	r.last++
	m := &move{rig: r, runDir: filepath.Join(r.dir, fmt.Sprint("move", r.last)), from: r.at, to: other(r.at), incoming: r.last, began: time.Now()}
	must(r.t, os.Mkdir(m.runDir, 0o700))
	must(r.t, r.runners[m.to].Start(r.within(60*time.Second), rigGuest, m.incoming, true))
	id := fmt.Sprintf("%s-%d", rigGuest, m.incoming)
	d := gateway.DestinationConfig{Move: id, Guest: rigGuest, QMP: r.runners[m.to].MoveSocket(rigGuest, m.incoming),
		TLS: r.tls(m.to), Peer: m.from, Listen: []string{"127.0.0.1:0"}, RAMBytes: 1 << 30,
		LocalDisks: r.runners[m.to].Specs[rigGuest].LocalNodes()}
	s := gateway.SourceConfig{Move: id, Guest: rigGuest, QMP: r.runners[m.from].MoveSocket(rigGuest, r.epoch), RunDir: m.runDir,
		Policy: "bumpless", TLS: r.tls(m.from), Peer: m.to, BudgetMs: budgetMs, MarginMs: 50, RAMBytes: 1 << 30,
		LocalDisks: r.runners[m.from].Specs[rigGuest].LocalNodes()}
	if change != nil {
		change(&s, &d)
	}
	m.destination = r.start("destination", d)
	e := m.destination.phase(gateway.Connecting)
	if e == nil || len(e.Addresses) == 0 {
		r.t.Fatalf("the destination does not listen: %+v", e)
	}
	s.Addresses = e.Addresses
	return m, s
}

const budgetMs = 300

// resumeWait bounds how long the daemon, or here the test, may take to continue
// a guest whose gateway died.
const resumeWait = 2 * time.Second

// settle does what the two daemons and the log do when both gateways have
// ended (ha/core, moves.go): the source's copy goes on unless it committed; if
// it did, the destination's copy decides, and one that does not run is killed
// before the source's may go on.
func (m *move) settle() (source, destination *gateway.Result) {
	m.t.Helper()
	source, destination = m.source.result(), m.destination.result()
	_, err := os.Lstat(filepath.Join(m.runDir, gateway.CommittedMarker))
	committed := !os.IsNotExist(err)
	moved := source != nil && source.Outcome == gateway.Moved
	if moved && !committed {
		m.t.Fatal("the guest was moved without a commit marker")
	}
	if moved || (committed && m.look(m.to, m.incoming) == guest.Running) {
		_, err := m.runners[m.from].Kill(m.within(10*time.Second), rigGuest, m.rig.epoch)
		must(m.t, err)
		must(m.t, m.runners[m.to].MarkRan(rigGuest, m.incoming))
		m.at, m.rig.epoch = m.to, m.incoming
		return source, destination
	}
	if state := m.look(m.to, m.incoming); state == guest.Running {
		m.t.Fatal("the destination's copy runs although the source did not commit")
	}
	if committed {
		m.kill(m.to, m.incoming)
	}
	if m.look(m.from, m.rig.epoch) != guest.Running {
		must(m.t, m.runners[m.from].Continue(m.within(resumeWait), rigGuest, m.rig.epoch))
	}
	m.kill(m.to, m.incoming)
	return source, destination
}

func (m *move) kill(host string, epoch uint64) {
	m.t.Helper()
	_, err := m.runners[host].Kill(m.within(10*time.Second), rigGuest, epoch)
	must(m.t, err)
}

// look is the state of a copy; "" when there is none.
func (m *move) look(host string, epoch uint64) guest.State {
	m.t.Helper()
	copies, err := m.runners[host].Find()
	must(m.t, err)
	for _, c := range copies {
		if c.Epoch == epoch {
			return m.runners[host].Look(m.within(10*time.Second), c)
		}
	}
	return ""
}

func (r *rig) tls(host string) link.Files {
	return link.Files{Cert: r.dir + "/pki/" + host + ".crt", Key: r.dir + "/pki/" + host + ".key", CA: r.dir + "/pki/ca.crt"}
}

// runsOnlyOn checks, from outside, where the guest runs: exactly one copy, on
// that host, intact, and the same since it was booted. It watches for a while.
func (m *move) runsOnlyOn(host string) {
	m.t.Helper()
	from := time.Now()
	start, err := m.observer.Wait(m.settings.GocbRef, 30*time.Second, func(s Sighting) bool { return s.At.After(from) && s.Source == host })
	if err != nil {
		m.t.Fatal(err)
	}
	// The second pass that ends has begun here and now.
	_, err = m.observer.Wait(m.settings.GocbRef, time.Minute, func(s Sighting) bool { return s.Report.VerifyPasses >= start.Report.VerifyPasses+2 })
	if err != nil {
		m.t.Fatal("the guest does not finish verifying its memory:", err)
	}
	for _, s := range m.observer.Between(m.settings.GocbRef, start.At, time.Now())[1:] {
		if s.Source != host {
			m.t.Fatalf("the guest was heard on %s too", s.Source)
		}
		if s.Report.CorruptPages != 0 || s.Report.BootID != m.bootID {
			m.t.Fatalf("%d corrupt pages, boot %08x; want none, boot %08x", s.Report.CorruptPages, s.Report.BootID, m.bootID)
		}
	}
	if n := m.seen().CopiesMax(); n != 1 {
		m.t.Fatalf("%d copies ran at the same moment", n)
	}
}

// seen since the move began.
func (m *move) seen() Sightings { return m.observer.Between(m.settings.GocbRef, m.began, time.Now()) }

// handover is what the stop costs a neighbour: from the last frame at the
// source to the first one at the destination, less the period.
func (m *move) handover() time.Duration {
	m.t.Helper()
	seen := m.seen()
	for i := 1; i < len(seen); i++ {
		if seen[i-1].Source == m.from && seen[i].Source == m.to {
			return seen[i].At.Sub(seen[i-1].At) - m.settings.GoosePeriod
		}
	}
	m.t.Fatal("the guest was not seen to come over")
	return 0
}

// afterglow: the guest's code is translated anew for that long at the
// destination (TCG), and what it takes counts as blackout.
const afterglow = time.Second

// blackout is the largest gap from the beginning of the move until a second
// after the guest came over, less the period. Later gaps are the guest's own:
// 280 ms were seen three seconds after a move on a busy machine.
func (m *move) blackout() time.Duration {
	m.t.Helper()
	seen := m.seen()
	end := time.Now()
	for _, s := range seen {
		if s.Source == m.to {
			end = s.At.Add(afterglow)
			break
		}
	}
	gap, at := m.observer.Between(m.settings.GocbRef, m.began, end).LargestGap()
	m.t.Logf("largest gap %v, %v after the move began", gap, at.Sub(m.began))
	return gap - m.settings.GoosePeriod
}
