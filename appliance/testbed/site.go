package testbed

import (
	"fmt"
	"strings"
	"time"

	"bumpless/appliance/testbed/protection"
)

// GuestOptions describe one protection guest of a cluster.
type GuestOptions struct {
	Name      string
	MemoryMiB int
	BudgetMs  int
	Preferred string // host
	Group     string // redundancy group
	Settings  protection.Settings
	DiskMiB   int // of a local disk, see LocalDisk; 0: none
}

// LocalDisk is where every host keeps its image of the guest's local disk.
func LocalDisk(guest string) string { return DiskDir + "/" + guest + ".img" }

// BootLine is the part of a test guest's kernel command line that makes it boot
// quickly under emulation.
const BootLine = "console=ttyS0 quiet mitigations=off panic=1 tsc=reliable no_timer_check random.trust_cpu=on"

// WakingMs is what a site file of emulated guests says of move.waking_ms: how long one is
// not heard when it runs at its destination and its code is translated anew. 45 to 60 ms
// were seen on one machine with two cores, 80 to 130 (and 201 once) on another.
const WakingMs = 100

// siteFile writes the cluster's site file: the same for every host, as in the
// field.
func (c *Cluster) siteFile() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	t := c.options.Timing
	line("# The test bed's substation.")
	line("version: 1")
	line("site: test-bed")
	line("state_dir: %s/state", DiskDir)
	line("run_dir: %s/bumpless", RunDir)
	line("pki_dir: %s", c.pkiDir())
	line("timing: {lease_ms: %d, leader_lease_ms: %d, watchdog_timeout_ms: %d, reset_time_ms: %d, pet_interval_ms: %d, election_ms: %d}",
		ms(t.Lease), ms(t.LeaderLease), ms(t.Watchdog), ms(t.Reset), ms(t.Pet), ms(t.Election))
	line("qemu: {accel: tcg}")
	line("move: {policy: %s, margin_ms: %d, waking_ms: %d, before_stop: %q, before_stop_ms: 5000}", c.options.Policy, c.options.MarginMs, c.options.WakingMs, c.hookPath())
	if mbit := c.options.LinkBitsPerS / 1e6; mbit > 0 {
		line("links: {lan_a: {capacity_mbit_per_s: %d}, lan_b: {capacity_mbit_per_s: %d}}", mbit, mbit)
	}
	line("hosts:")
	for i, name := range c.options.Hosts {
		line("  - name: %s", name)
		line("    lan_a: %s", Address(i+1, LANA))
		line("    lan_b: %s", Address(i+1, LANB))
		if name == WitnessHost {
			line("    role: witness")
			continue
		}
		line("    role: server")
		line("    memory_for_guests_mib: 2048")
		line("    bus_bridge: %s", BusBridge)
		line("    watchdog: {kind: power-strip, path: %s}", c.Bed.StripSocket(name))
		line("    console: {device: %s}", c.consoles[name].device)
	}
	line("guests:")
	for i, g := range c.options.Guests {
		line("  - name: %s", g.Name)
		line("    memory_mib: %d", g.MemoryMiB)
		line("    kernel: %s", c.options.Kernel)
		line("    initrd: %s", c.options.Initrd)
		line("    cmdline: %q", BootLine+" "+g.Settings.CommandLine())
		line("    mac: 52:54:00:00:01:%02x", i+1)
		line("    budget_ms: %d", g.BudgetMs)
		if g.Preferred != "" {
			line("    preferred_host: %s", g.Preferred)
		}
		if g.DiskMiB > 0 {
			line("    disks: [{path: %s, kind: local, size_mib: %d}]", LocalDisk(g.Name), g.DiskMiB)
		}
		if g.Group != "" {
			line("    redundancy_group: %s", g.Group)
		}
	}
	return b.String()
}

func ms(d time.Duration) int64 { return d.Milliseconds() }

// Timing of a cluster's site file, see config.Timing.
type Timing struct {
	Lease, LeaderLease, Watchdog, Reset, Pet, Election time.Duration
}

// DefaultTiming is quick enough to watch. Nothing in it is shorter than a busy
// test machine may stall: its processes are not scheduled for 170 ms at times.
// The lease outlives a leader that is cut off, an election and a third of
// itself, which is how old it may be when that begins: with 3 s and an election
// of 1.5 s a guest was killed and started anew after a stall of 0.6 s.
func DefaultTiming() Timing {
	return Timing{Lease: 5 * time.Second, LeaderLease: time.Second, Watchdog: 4 * time.Second, Reset: time.Second,
		Pet: 500 * time.Millisecond, Election: time.Second}
}
