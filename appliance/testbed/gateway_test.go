package testbed

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/gateway"
	"bumpless/migrate/policy"
)

// tcgNoise is how much longer than QEMU's own pause a neighbour may see nothing:
// the guest is cold after a move, and nothing but the translation of its code
// takes that time. The policy of the product gets no such allowance.
const tcgNoise = 4

func TestE2EABusyGuestMovesThereAndBackWithinItsBudget(t *testing.T) {
	r := newRig(t, 1000)
	r.boot()
	for _, name := range append(policy.Names(), "bumpless") {
		m, result := r.moveAway(name)
		limit, blackout := time.Duration(budgetMs)*time.Millisecond, m.blackout()
		if name != "bumpless" {
			limit *= tcgNoise
		}
		t.Logf("%s: %s to %s: %+v; handover %v, blackout %v", name, m.from, m.to, *result, m.handover(), blackout)
		if blackout > limit {
			t.Errorf("%s: blackout = %v; want at most %v", name, blackout, limit)
		}
	}
	shapeLoopback(t, "200mbit")
	if _, result := r.moveAway("bumpless"); result.ReadBytes == 0 {
		t.Errorf("nothing was read from the guest's memory, over a slow link: %+v", result)
	}
}

// moveAway moves the guest to the other host. On a machine that others load a
// roll-back is a lawful end, within the budget; then it is tried again.
func (r *rig) moveAway(policy string) (*move, *gateway.Result) {
	r.t.Helper()
	for try := 1; ; try++ {
		m := r.begin(func(s *gateway.SourceConfig, _ *gateway.DestinationConfig) { s.Policy = policy })
		result, arrived := m.settle()
		if result == nil || result.StopMs > budgetMs {
			r.t.Fatalf("%s: result = %+v; want a stop of at most %d ms", policy, result, budgetMs)
		}
		if result.Outcome == gateway.Moved && arrived.WrittenBytes == 0 {
			r.t.Errorf("%s: the guest's pages went through QEMU's stream; want them written to the memory that it shares", policy)
		}
		m.runsOnlyOn(r.at)
		if result.Outcome == gateway.Moved && result.DigestEqual {
			return m, result
		}
		if result.Outcome != gateway.RolledBack || try == 3 {
			r.t.Fatalf("%s, try %d: result = %+v; want moved, digests equal", policy, try, result)
		}
		r.t.Logf("%s, try %d: %+v", policy, try, *result)
	}
}

func TestE2EALinkThatStallsInTheStopPhaseCostsNoMoreThanTheBudget(t *testing.T) {
	r := newRig(t, 1000)
	r.boot()
	m := r.begin(func(s *gateway.SourceConfig, _ *gateway.DestinationConfig) { s.AskToStop = true })
	if m.source.phase(gateway.AskingStop) == nil {
		t.Fatal("the source's gateway ended early")
	}
	must(t, run("tc", "qdisc replace dev lo root blackhole"))
	t.Cleanup(func() { _ = run("tc", "qdisc del dev lo root") }) // healed below, if all went well
	m.source.say("go")
	result := m.source.result()
	must(t, run("tc", "qdisc del dev lo root"))
	if result == nil || result.Outcome != gateway.RolledBack || result.StopMs > budgetMs {
		t.Fatalf("result = %+v; want rolled back within %d ms", result, budgetMs)
	}
	m.settle()
	m.runsOnlyOn(m.from)
	if b := m.blackout(); b > budgetMs*time.Millisecond {
		t.Errorf("blackout = %v; the budget is %d ms", b, budgetMs)
	}
	r.moveAway("bumpless") // the next move is none the worse for it
}

// The gateway's link is loopback here; its packets are made as long as those of
// a LAN, so that the bucket holds several of them.
func shapeLoopback(t *testing.T, bitsPerS string) {
	t.Helper()
	must(t, ip("link set lo mtu 1500"))
	must(t, run("tc", "qdisc replace dev lo root tbf rate", bitsPerS, "burst 64kb latency 20ms"))
	t.Cleanup(func() {
		_ = run("tc", "qdisc del dev lo root") // the namespace may be on its way out
		_ = ip("link set lo mtu 65536")
	})
}

func TestE2EAHotSetThatIsTooLargeIsRefusedAndTheGuestNeverStops(t *testing.T) {
	r := newRig(t, 1000, protection.Region{Name: "hot", MiB: 12, PagesPerS: 3000, WriteBytes: protection.PageSize})
	r.boot()
	shapeLoopback(t, "100mbit")
	m := r.begin(nil)
	var phases []gateway.Phase
	m.source.until("its end", func(e gateway.Event) bool { phases = append(phases, e.Phase); return false })
	result, _ := m.settle()
	if result == nil || result.Outcome != gateway.Refused {
		t.Fatalf("result = %+v; want refused", result)
	}
	for _, want := range []string{"x the link", "a budget of", "hot set"} {
		if !strings.Contains(result.Reason, want) {
			t.Errorf("reason = %q; want it to say what would help (%q)", result.Reason, want)
		}
	}
	if slices.Contains(phases, gateway.Stopped) {
		t.Errorf("phases %v; the guest must not be stopped", phases)
	}
	m.runsOnlyOn(m.from)
	t.Logf("%+v", *result)
	// The guest rewrites 12 MB/s under TCG: that alone makes gaps of 280 ms.
	if b := m.blackout(); b > budgetMs*tcgNoise*time.Millisecond {
		t.Errorf("blackout = %v although the guest never stopped", b)
	}
}

func TestE2EAWrongPeerAndAForeignGuestAreRefused(t *testing.T) {
	r := newRig(t, 1000)
	must(t, r.site.Host("host-c"))
	r.boot()
	small := r.begin(func(_ *gateway.SourceConfig, d *gateway.DestinationConfig) { d.RAMBytes = 64 << 20 })
	if s, _ := small.settle(); s == nil || s.Outcome != gateway.Failed || !strings.Contains(s.Reason, "this guest has 64 MiB") {
		t.Errorf("a destination of 64 MiB: %+v; want failed because of its RAM", s)
	}
	small.runsOnlyOn(small.from)

	m, config := r.prepare(nil)
	wrong := config
	wrong.TLS = r.tls("host-c")
	if s := r.start("source", wrong).result(); s == nil || s.Outcome != gateway.Failed || !strings.Contains(s.Reason, "certificate") {
		t.Errorf("a source with host-c's certificate: %+v; want failed because of it", s)
	}
	e := m.destination.until("the refusal", func(e gateway.Event) bool { return e.Result != nil })
	if e == nil || e.Phase != gateway.Connecting || e.Result.Outcome != gateway.Refused || !strings.Contains(e.Result.Reason, "host-c") {
		t.Fatalf("the destination said %+v; want a refused connection of host-c", e)
	}
	m.source = r.start("source", config)
	if s, _ := m.settle(); s == nil || (s.Outcome != gateway.Moved && s.Outcome != gateway.RolledBack) {
		t.Fatalf("the right peer: %+v; want it served", s)
	}
	m.runsOnlyOn(r.at)
}
