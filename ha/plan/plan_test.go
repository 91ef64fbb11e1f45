package plan

import (
	"math"
	"strings"
	"testing"
)

// ok is a host with nothing against it and nothing on it.
func ok(name string, change ...func(*Host)) Host {
	h := Host{Name: name, Server: true, InService: true, Contact: true}
	for _, c := range change {
		c(&h)
	}
	return h
}

func guests(n int) func(*Host)   { return func(h *Host) { h.Guests = n } }
func left(n int) func(*Host)     { return func(h *Host) { h.RecentDepartures = n } }
func group(g string) func(*Host) { return func(h *Host) { h.Groups = append(h.Groups, "", g) } }

func memory(all, free int) func(*Host) {
	return func(h *Host) { h.MemoryMiB, h.FreeMiB = all, free }
}

var (
	away     = func(h *Host) { h.Contact = false }
	resting  = func(h *Host) { h.InService = false }
	noServer = func(h *Host) { h.Server = false }
)

func TestChoose(t *testing.T) {
	g := Guest{Name: "g", MemoryMiB: 1024, Group: "p"}
	from := func(host string) Guest { g := g; g.From = host; return g }
	prefers := func(host string) Guest { g := g; g.Preferred = host; return g }
	alone := Guest{Name: "g", MemoryMiB: 1024}
	tests := []struct {
		name  string
		guest Guest
		hosts []Host
		to    string
		why   string
	}{
		{"of equal hosts the first by name", g, []Host{ok("b"), ok("a")}, "a", "lowest cost, 0.0"},
		{"the host with fewer guests", g, []Host{ok("a", guests(2)), ok("b", guests(1))}, "b", "5.0"},
		{"the host with more free memory", g, []Host{ok("a", memory(8192, 2048)), ok("b", memory(8192, 6144))}, "b", "host b"},
		{"the preferred host, though it is full of guests", prefers("b"), []Host{ok("a"), ok("b", guests(19))}, "b", "95.0"},
		{"not the preferred host when it costs more", prefers("b"), []Host{ok("a"), ok("b", guests(21))}, "a", "100.0"},
		{"the preferred host, though it was left three times", prefers("b"), []Host{ok("a"), ok("b", left(3))}, "b", "90.0"},
		{"not the host that it has just left", g, []Host{ok("a", left(1)), ok("b", guests(5))}, "b", "25.0"},
		{"the host that it has just left, when the other is crowded", g, []Host{ok("a", left(1)), ok("b", guests(7))}, "a", "30.0"},

		{"only where its local disk is", Guest{Name: "g", DiskHost: "b"}, []Host{ok("a"), ok("b", guests(30))}, "b", "host b"},
		{"nowhere, without the host of its local disk", Guest{Name: "g", DiskHost: "b"}, []Host{ok("a"), ok("b", away)}, "",
			"a: what the guest wrote to its local disk is on host b only; b: no fresh contact"},
		{"anywhere while it runs, with its local disk", Guest{Name: "g", DiskHost: "b", From: "b"}, []Host{ok("a"), ok("b")}, "a", "host a"},

		{"not where it is", from("a"), []Host{ok("a"), ok("b", guests(30))}, "b", "host b"},
		{"not a witness", g, []Host{ok("w", noServer), ok("x", guests(9))}, "x", "host x"},
		{"not a host in maintenance", g, []Host{ok("a", resting), ok("b", guests(9))}, "b", "host b"},
		{"not a host that is not heard of", g, []Host{ok("a", away), ok("b", guests(9))}, "b", "host b"},
		{"not beside its partner", g, []Host{ok("a", group("p")), ok("b", guests(9))}, "b", "host b"},
		{"beside another group", g, []Host{ok("a", group("q")), ok("b", guests(9))}, "a", "host a"},
		{"beside a guest without a group, having none itself", alone, []Host{ok("a", group("")), ok("b", guests(9))}, "a", "host a"},
		{"not where its memory is missing", g, []Host{ok("a", memory(4096, 1023)), ok("b", guests(9))}, "b", "host b"},
		{"where its memory just fits", g, []Host{ok("a", memory(4096, 1024)), ok("b", guests(9))}, "a", "host a"},
		{"where the memory is unknown", g, []Host{ok("a", memory(0, -5000))}, "a", "host a"},

		{"nowhere without hosts", g, nil, "", "no host can take guest g"},
		{"nowhere when all are ruled out", from("a"), []Host{ok("a"), ok("b", away), ok("c", resting), ok("d", group("p")), ok("e", memory(2048, 1)), ok("w", noServer)}, "",
			"no host can take guest g: a: the guest is there; b: no fresh contact; c: out of service; d: a partner of redundancy group p is there; e: 1 MiB free, 1024 MiB needed; w: runs no guests"},
	}
	for _, tt := range tests {
		e := Choose(tt.guest, tt.hosts)
		if e.To != tt.to || !strings.Contains(e.Why, tt.why) {
			t.Errorf("%s: Choose() = %q, %q; want %q with %q", tt.name, e.To, e.Why, tt.to, tt.why)
		}
		if len(e.Candidates) != len(tt.hosts) || e.Guest != tt.guest.Name || e.From != tt.guest.From {
			t.Errorf("%s: the explanation %+v leaves something out", tt.name, e)
		}
	}
}

// What `bumpless explain` shows must add up.
func TestEveryCostIsTheSumOfItsTerms(t *testing.T) {
	e := Choose(Guest{Name: "g", MemoryMiB: 1024, Preferred: "b"}, []Host{ok("a", guests(3), memory(8192, 4096), left(2)), ok("b", away), ok("c")})
	want := map[string]float64{"a": 3*costPerGuest + costMemoryFull*5120.0/8192 + costNotPreferred + 2*costRecentMove, "b": 0, "c": costNotPreferred}
	for _, c := range e.Candidates {
		sum := 0.0
		for _, term := range c.Terms {
			if term.Name == "" || term.Why == "" {
				t.Errorf("host %s: a term without name or reason: %+v", c.Host, term)
			}
			sum += term.Value
		}
		if math.Abs(sum-c.Cost) > 1e-9 || math.Abs(c.Cost-want[c.Host]) > 1e-9 {
			t.Errorf("host %s: cost %v, its terms sum to %v; want %v", c.Host, c.Cost, sum, want[c.Host])
		}
	}
	if last := e.Candidates[2]; last.Host != "b" || last.RuledOut == "" {
		t.Errorf("the last candidate is %+v; want the one that is ruled out", last)
	}
}

func TestChooseLeavesItsInputAlone(t *testing.T) {
	hosts := []Host{ok("b"), ok("a", guests(1)), ok("c", away)}
	Choose(Guest{Name: "g"}, hosts)
	if hosts[0].Name != "b" || hosts[1].Name != "a" || hosts[2].Name != "c" {
		t.Errorf("the hosts were reordered: %+v", hosts)
	}
}
