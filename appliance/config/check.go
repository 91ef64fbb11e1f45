package config

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
)

// Bounds of what a site may have.
const (
	maxHosts  = 16
	maxGuests = 64
	maxPath   = 255
	maxSocket = 107 // sun_path has 108 bytes with the final 0
)

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Names that go into command lines, which must not become something else there.
var (
	iface   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,14}$`)
	machine = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	cpu     = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9.,+=_-]{0,255}$`)
)

const nameRule = "want 1 to 32 of a-z, 0-9 and -, not at an end"

// HostName tells whether the site file takes it as a host's name.
func HostName(n string) error {
	if !name.MatchString(n) {
		return fmt.Errorf("%.60q: %s", n, nameRule)
	}
	return nil
}

// SiteName tells whether the site file takes it as the site's name.
func SiteName(n string) error {
	if n == "" || len(n) > 64 {
		return errors.New("want a name of 1 to 64 bytes")
	}
	return nil
}

func (c *checker) site(s Site) {
	c.must(c.has("$.version"), "$.version", "missing: write 'version: %d'", Version)
	c.must(!c.has("$.version") || s.Version == Version, "$.version", "%d, this release understands %d", s.Version, Version)
	err := SiteName(s.Site)
	c.must(err == nil, "$.site", "%v", err)
	c.path("$.state_dir", s.StateDir, maxPath)
	c.must(len(s.RunDir) <= 40, "$.run_dir", "%d bytes long, at most 40: sockets lie below it", len(s.RunDir))
	c.path("$.run_dir", s.RunDir, maxPath)
	c.path("$.pki_dir", s.PKIDir, maxPath)
	c.timing(s.Timing)
	c.must(s.QEMU.Binary != "" && len(s.QEMU.Binary) <= maxPath, "$.qemu.binary", "want a path or name of 1 to %d bytes", maxPath)
	c.must(slices.Contains([]string{"kvm", "tcg"}, s.QEMU.Accel), "$.qemu.accel", "%.60q, want kvm or tcg", s.QEMU.Accel)
	c.must(slices.Contains(policies, s.Move.Policy), "$.move.policy", "%.60q, want one of %v", s.Move.Policy, policies)
	c.between("$.move.margin_ms", s.Move.MarginMs, 1, 10_000)
	c.between("$.move.waking_ms", s.Move.WakingMs, 0, 600_000)
	c.between("$.move.connections", s.Move.Connections, 1, 16)
	c.between("$.move.timeout_s", s.Move.TimeoutS, 1, 86_400)
	c.between("$.move.delta_cache_percent", s.Move.DeltaCachePercent, 0, 100)
	c.between("$.move.before_stop_ms", s.Move.BeforeStopMs, 1, 60_000)
	if s.Move.BeforeStop != "" {
		c.path("$.move.before_stop", s.Move.BeforeStop, maxPath)
	}
	c.link("$.links.lan_a", s.Links.LanA)
	c.link("$.links.lan_b", s.Links.LanB)
	c.must(len(s.Hosts) >= 1 && len(s.Hosts) <= maxHosts, "$.hosts", "%d hosts, want 1 to %d", len(s.Hosts), maxHosts)
	if len(s.Hosts) == 0 {
		return // what follows would be wrong for want of hosts
	}
	c.must(len(s.Hosts)%2 == 1, "$.hosts", "%d hosts: an even number of votes survives no more failures than one less; add a witness", len(s.Hosts))
	c.must(len(s.Guests) <= maxGuests, "$.guests", "%d guests, at most %d", len(s.Guests), maxGuests)
	seen := map[string]string{}
	for i, h := range s.Hosts {
		c.host(fmt.Sprintf("$.hosts[%d]", i), h, seen)
		c.must(h.Watchdog.Kind != WatchdogDevice || s.Timing.WatchdogTimeoutMs%1000 == 0, "$.timing.watchdog_timeout_ms",
			"%d, want whole seconds: the watchdog device of host %.60q counts in them", s.Timing.WatchdogTimeoutMs, h.Name)
	}
	for i, g := range s.Guests {
		c.guest(fmt.Sprintf("$.guests[%d]", i), g, s, seen)
	}
	c.groups(s)
}

// maxMbit is faster than any port of a server today.
const maxMbit = 1_000_000

func (c *checker) link(at string, l Link) {
	c.between(at+".capacity_mbit_per_s", l.CapacityMbitPerS, 0, maxMbit)
	c.between(at+".reserve_mbit_per_s", l.ReserveMbitPerS, 0, maxMbit)
	c.must(l.CapacityMbitPerS == 0 || l.ReserveMbitPerS < l.CapacityMbitPerS, at+".reserve_mbit_per_s",
		"%d, want less than capacity_mbit_per_s (%d): moves would have nothing", l.ReserveMbitPerS, l.CapacityMbitPerS)
}

// policies are the ones that migrate/policy has; a test keeps them equal.
var policies = []string{"ar", "bumpless", "delayed", "layered", "memory-pattern", "precopy"}

func (c *checker) between(field string, n, low, high int) {
	c.must(n >= low && n <= high, field, "%d, want %d to %d", n, low, high)
}

// path wants an absolute one: what a relative one is relative to depends on how
// the daemon was started.
func (c *checker) path(field, value string, limit int) {
	c.must(filepath.IsAbs(value) && len(value) <= limit, field, "%.200q, want an absolute path of at most %d bytes", value, limit)
}

func (c *checker) timing(t Timing) {
	c.between("$.timing.lease_ms", t.LeaseMs, 100, 600_000)
	c.between("$.timing.leader_lease_ms", t.LeaderLeaseMs, 0, 600_000)
	c.between("$.timing.clock_drift_ppm", t.ClockDriftPPM, 0, 100_000)
	c.between("$.timing.watchdog_timeout_ms", t.WatchdogTimeoutMs, 100, 600_000)
	c.between("$.timing.reset_time_ms", t.ResetTimeMs, 0, 600_000)
	c.between("$.timing.pet_interval_ms", t.PetIntervalMs, 10, 60_000)
	c.between("$.timing.election_ms", t.ElectionMs, 100, 60_000)
	c.must(t.LeaseMs >= 4*t.PetIntervalMs, "$.timing.lease_ms", "%d must be at least four petting intervals of %d", t.LeaseMs, t.PetIntervalMs)
	c.must(t.LeaseMs >= 4*t.ElectionMs, "$.timing.lease_ms", "%d must be at least four times election_ms (%d): no lease is granted while a leader is elected, and a host whose lease runs out kills its guests", t.LeaseMs, t.ElectionMs)
	c.must(t.WatchdogTimeoutMs >= 2*t.PetIntervalMs, "$.timing.watchdog_timeout_ms", "%d must be at least two petting intervals of %d, or a late tick resets the host", t.WatchdogTimeoutMs, t.PetIntervalMs)
}

func (c *checker) unique(field, kind, value string, seen map[string]string) {
	if value == "" { // missing, which is told already
		return
	}
	key := kind + " " + value
	before, twice := seen[key]
	c.must(!twice, field, "%s is used by %s already", key, before)
	seen[key] = field
}

func (c *checker) host(at string, h Host, seen map[string]string) {
	err := HostName(h.Name)
	c.must(err == nil, at+".name", "%v", err)
	c.unique(at+".name", "host", h.Name, seen)
	c.must(h.Role == Server || h.Role == Witness, at+".role", "%.60q, want %s or %s", h.Role, Server, Witness)
	c.address(at+".lan_a", h.LanA, seen)
	if h.LanB != "" {
		c.address(at+".lan_b", h.LanB, seen)
	}
	c.between(at+".raft_port", h.RaftPort, 1, 65535)
	c.between(at+".api_port", h.APIPort, 1, 65535)
	c.must(h.RaftPort != h.APIPort, at+".api_port", "%d is the raft_port too", h.APIPort)
	c.watchdog(at+".watchdog", h)
	c.console(at+".console", h.Console)
	low := 0
	if h.Role == Server {
		low = 16
	}
	c.between(at+".memory_for_guests_mib", h.MemoryForGuestsMiB, low, 16<<20)
	c.must(h.Role != Server || h.BusBridge != "", at+".bus_bridge", "missing: a server needs the name of its station bus bridge")
	c.must(h.BusBridge == "" || iface.MatchString(h.BusBridge), at+".bus_bridge", "%.60q is not the name of a network interface: want 1 to 15 of letters, digits, ., _ and -", h.BusBridge)
	before := map[int]bool{}
	for i, n := range h.GuestCPUs {
		field := fmt.Sprintf("%s.guest_cpus[%d]", at, i)
		c.between(field, n, 0, 1023)
		c.must(!before[n], field, "CPU %d is in the list already", n)
		before[n] = true
	}
}

func (c *checker) watchdog(at string, h Host) {
	kinds := []string{WatchdogDevice, WatchdogPowerStrip}
	if h.Role != Server {
		kinds = append(kinds, "", WatchdogNone)
	}
	// The test bed's kind is not offered: it guards no real server.
	c.must(slices.Contains(kinds, h.Watchdog.Kind), at+".kind", "%.60q, want %s: a server without a watchdog could run a guest twice", h.Watchdog.Kind, WatchdogDevice)
	c.path(at+".path", h.Watchdog.Path, maxSocket)
}

var bauds = []int{1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600}

func (c *checker) console(at string, k Console) {
	if k.Device != "" {
		c.path(at+".device", k.Device, maxPath)
	}
	c.must(slices.Contains(bauds, k.Baud), at+".baud", "%d is not a usual rate, want one of %v", k.Baud, bauds)
	c.must(slices.Contains(roles, k.Role), at+".role", "%.60q, want one of %v", k.Role, roles)
}

var roles = []string{"VIEWER", "OPERATOR", "ENGINEER", "INSTALLER", "SECADM", "SECAUD", "RBACMNT"}

func (c *checker) address(field, value string, seen map[string]string) {
	a, err := netip.ParseAddr(value)
	c.must(err == nil, field, "%.60q is not an IP address", value)
	if err == nil {
		c.must(!a.IsUnspecified() && !a.IsMulticast(), field, "%s is not the address of one host", a)
		c.unique(field, "address", a.Unmap().String(), seen)
	}
}

func (c *checker) guest(at string, g Guest, s Site, seen map[string]string) {
	c.must(name.MatchString(g.Name), at+".name", "%.60q: %s", g.Name, nameRule)
	c.unique(at+".name", "guest", g.Name, seen)
	c.between(at+".memory_mib", g.MemoryMiB, 16, 16<<20)
	c.between(at+".vcpus", g.VCPUs, 1, 256)
	hw, err := net.ParseMAC(g.MAC)
	station := err == nil && len(hw) == 6 && hw[0]&1 == 0 && !bytes.Equal(hw, make([]byte, 6))
	c.must(station, at+".mac", "%.60q is not the address of one station, such as 52:54:00:12:34:56", g.MAC)
	c.unique(at+".mac", "mac", hw.String(), seen)
	c.must(g.BudgetMs > s.Move.MarginMs && g.BudgetMs <= 600_000, at+".budget_ms", "%d, want more than move.margin_ms (%d) and at most 600000", g.BudgetMs, s.Move.MarginMs)
	c.path(at+".kernel", g.Kernel, maxPath)
	c.path(at+".initrd", g.Initrd, maxPath)
	c.must(machine.MatchString(g.Machine), at+".machine", "%.60q is not a machine type, such as pc-q35-10.0", g.Machine)
	c.must(cpu.MatchString(g.CPU), at+".cpu", "%.60q is not a CPU model, such as host or EPYC,+x2apic", g.CPU)
	c.must(g.RedundancyGroup == "" || name.MatchString(g.RedundancyGroup), at+".redundancy_group", "%.60q: %s", g.RedundancyGroup, nameRule)
	c.must(g.MemoryMiB <= largest(s), at+".memory_mib", "%d fits no server: the largest has %d for guests", g.MemoryMiB, largest(s))
	if g.PreferredHost != "" {
		h, ok := s.Host(g.PreferredHost)
		c.must(ok && mayServe(h), at+".preferred_host", "%.60q is not a server of this site", g.PreferredHost)
	}
	c.disks(at+".disks", g.Disks, seen)
	c.must(len(g.Cmdline) <= 2048, at+".cmdline", "%d bytes, the kernel takes 2048", len(g.Cmdline))
}

// mayServe: a host whose role is unknown may be meant as a server. The role is
// told, and nothing that follows from it.
func mayServe(h Host) bool { return h.Role != Witness }

// largest memory_for_guests_mib of a server.
func largest(s Site) int {
	most := 0
	for _, h := range s.Hosts {
		if mayServe(h) {
			most = max(most, h.MemoryForGuestsMiB)
		}
	}
	return most
}

// groups: the guests of a group never share a host, so there must be enough.
func (c *checker) groups(s Site) {
	servers := 0
	for _, h := range s.Hosts {
		if mayServe(h) {
			servers++
		}
	}
	members := map[string]int{}
	for i, g := range s.Guests {
		if g.RedundancyGroup == "" {
			continue
		}
		members[g.RedundancyGroup]++
		c.must(members[g.RedundancyGroup] <= servers, fmt.Sprintf("$.guests[%d].redundancy_group", i),
			"group %q has more guests than there are servers (%d): they could never run apart", g.RedundancyGroup, servers)
	}
}
