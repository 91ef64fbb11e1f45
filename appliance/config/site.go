// Package config reads the site file: one YAML document, the same on every
// host, that says what the substation consists of and what its times are.
//
// It is decoded strictly. A field that is not known, has the wrong type or is
// out of range is an error with its line and column; a daemon does not start on
// a file that it only half understands. Anchors, aliases and tags are not read.
// A file has at most 256 KiB, with lines of at most 4096 bytes; larger ones are
// refused before they are parsed.
package config

import (
	"fmt"
	"time"
)

// Version of the site file's format.
const Version = 1

// Site is the whole file. Every field says its effect, its unit, its default
// and why that default.
type Site struct {
	// Version of the format, 1. Required, so that a file is never read by the
	// rules of another release.
	Version int `yaml:"version"`
	// Site is the substation's name, shown everywhere. Required.
	Site string `yaml:"site"`
	// StateDir holds what must survive a reboot: the replicated log.
	// Default /var/lib/bumpless. All paths in the file are absolute and have at
	// most 255 bytes.
	StateDir string `yaml:"state_dir"`
	// RunDir holds what must not survive one: sockets, marks of moves. It must
	// be on a tmpfs. Default /run/bumpless. At most 40 bytes long: sockets lie
	// below it, and a socket's path has 108.
	RunDir string `yaml:"run_dir"`
	// PKIDir holds ca.crt, NAME.crt and NAME.key of this host (see `bumpless
	// pki`). Default /etc/bumpless/pki.
	PKIDir string `yaml:"pki_dir"`

	Timing Timing  `yaml:"timing"`
	QEMU   QEMU    `yaml:"qemu"`
	Move   Move    `yaml:"move"`
	Links  Links   `yaml:"links"`
	Hosts  []Host  `yaml:"hosts"`
	Guests []Guest `yaml:"guests"`
}

// Timing are the times that "never two running copies" rests on. They must be
// equal on all hosts. The waiting period before a silent host's guests are
// started elsewhere is
//
//	lease + leader lease + watchdog timeout + reset time + drift
//
// It is computed, checked and printed at start-up.
type Timing struct {
	// LeaseMs: how long a host may run guests after it asked. Shorter: quicker
	// takeover; longer: a longer loss of the leader is ridden out. At least four
	// times PetIntervalMs, and four times ElectionMs: no lease is granted while a
	// leader is elected, and a host whose lease runs out kills its guests.
	// Default 3000.
	LeaseMs int `yaml:"lease_ms"`
	// LeaderLeaseMs: reserve for a leader that does not know yet that it lost
	// its quorum. Default 1000.
	LeaderLeaseMs int `yaml:"leader_lease_ms"`
	// ClockDriftPPM: how far two hosts' clocks run apart at most, in parts per
	// million. Default 500, five times a bad quartz.
	ClockDriftPPM int `yaml:"clock_drift_ppm"`
	// WatchdogTimeoutMs from the last pet to the reset. Default 4000: hardware
	// watchdogs count whole seconds (with kind device it must be a multiple of
	// 1000), and two late pets must not reset a host.
	WatchdogTimeoutMs int `yaml:"watchdog_timeout_ms"`
	// ResetTimeMs from the watchdog's expiry until the CPUs have stopped.
	// Default 2000; measure it on your hardware.
	ResetTimeMs int `yaml:"reset_time_ms"`
	// PetIntervalMs is the longest time between two pets. Default 500.
	PetIntervalMs int `yaml:"pet_interval_ms"`
	// ElectionMs without word from the leader before another is elected.
	// At most a quarter of LeaseMs. Default 500.
	ElectionMs int `yaml:"election_ms"`
}

// QEMU that runs the guests.
type QEMU struct {
	// Binary; a path, or a name that is looked up in PATH. Version 10 at least. Default
	// qemu-system-x86_64.
	Binary string `yaml:"binary"`
	// Accel is kvm (default) or tcg, emulation, for trials without hardware.
	Accel string `yaml:"accel"`
}

// Move says how guests move.
type Move struct {
	// Policy by name; default bumpless. See `bumpless help policies`.
	Policy string `yaml:"policy"`
	// MarginMs of every budget is kept for a roll-back's resume: 1 to 10000,
	// less than each guest's budget. Default 30:
	// the longest resume that was seen took 18 ms.
	MarginMs int `yaml:"margin_ms"`
	// WakingMs of every budget is kept until a guest is heard that runs at its
	// destination, 0 to 600000. Each move measures it, and five of them take its place,
	// for that guest and that host. Default 0: not known. Under emulation 100.
	WakingMs int `yaml:"waking_ms"`
	// Connections between the gateways, over both LANs in turn: 1 to 16.
	// Default 2, one for each LAN.
	Connections int `yaml:"connections"`
	// TimeoutS of a whole move. Default 600.
	TimeoutS int `yaml:"timeout_s"`
	// DeltaCachePercent of a guest's memory is what each gateway of its move may
	// keep, so that a page which is sent again goes as what has changed of it:
	// 0 to 100. Admission counts it on both hosts. Less costs bytes on the link,
	// nothing else. Default 50: a busy guest has content in half of its memory.
	DeltaCachePercent int `yaml:"delta_cache_percent"`
	// BeforeStop is a program that is run on the source right before a guest
	// is stopped, with the guest, the source and the destination as arguments.
	// A status other than 0 refuses the stop: the guest is not touched. It is
	// the place for a check that only the site knows (is the other main
	// protection healthy?). It has BeforeStopMs. Default none.
	BeforeStop string `yaml:"before_stop"`
	// BeforeStopMs bounds BeforeStop. Default 2000.
	BeforeStopMs int `yaml:"before_stop_ms"`
}

// Links are the LANs between the hosts, which moves share with a service.
type Links struct {
	LanA Link `yaml:"lan_a"`
	LanB Link `yaml:"lan_b"`
}

// Link is one LAN. A move uses its capacity less the reserve, or less what the
// service was measured to send over the host's interface if that is more, from
// the first byte to the last.
type Link struct {
	// CapacityMbitPerS of the slowest port or trunk between two servers. Default
	// 0: what the source's interface says; if it says nothing, or the true figure
	// is smaller, the reserve is not kept.
	CapacityMbitPerS int `yaml:"capacity_mbit_per_s"`
	// ReserveMbitPerS is never used by moves, whatever the service sends just
	// now. Less than CapacityMbitPerS. Default 10: two SV streams of 80 samples a
	// cycle, and a hundredth of a gigabit. What others send to the destination is
	// not measured: add it.
	ReserveMbitPerS int `yaml:"reserve_mbit_per_s"`
}

// InOrder are the LANs, in the order of a host's addresses.
func (l Links) InOrder() []Link { return []Link{l.LanA, l.LanB} }

// Host is one machine.
type Host struct {
	// Name, as in its certificate. Required.
	Name string `yaml:"name"`
	// Role: server runs guests, witness only votes. Required.
	Role string `yaml:"role"`
	// LanA and LanB are the host's addresses in the two LANs; lan_b may be
	// missing. Required: lan_a.
	LanA string `yaml:"lan_a"`
	LanB string `yaml:"lan_b"`
	// RaftPort and APIPort at both addresses. Defaults 7001 and 7002.
	RaftPort int `yaml:"raft_port"`
	APIPort  int `yaml:"api_port"`
	// MemoryForGuestsMiB bounds the sum of the guests' memory. Required for a
	// server: the rest belongs to the host and to moves.
	MemoryForGuestsMiB int `yaml:"memory_for_guests_mib"`
	// GuestCPUs that guests may use, each once, 0 to 1023; default all. Leave one for the daemon and
	// the gateways where protection deadlines count.
	GuestCPUs []int `yaml:"guest_cpus"`
	// BusBridge is the bridge that joins guests to the station bus. Required
	// for a server.
	BusBridge string   `yaml:"bus_bridge"`
	Watchdog  Watchdog `yaml:"watchdog"`
	Console   Console  `yaml:"console"`
}

// Watchdog of a host.
type Watchdog struct {
	// Kind: device, a Linux watchdog (/dev/watchdog) whose driver stays armed
	// when it is closed, by magic close or nowayout; power-strip, a unix
	// socket of the test bed; none, for a witness. Required for a server:
	// without one nothing stops a host that hangs, and "never two copies"
	// could not be promised.
	Kind string `yaml:"kind"`
	// Path of the device or socket, of at most 107 bytes. Default
	// /dev/watchdog.
	Path string `yaml:"path"`
}

// Console is the serial port, the last way in.
type Console struct {
	// Device, for example /dev/ttyS0; "" for none.
	Device string `yaml:"device"`
	// Baud rate; default 115200.
	Baud int `yaml:"baud"`
	// Role of IEC 62351-8 that whoever sits at the port has. Default OPERATOR:
	// who can touch the port can also pull the plug.
	Role string `yaml:"role"`
}

// Guest is one virtual machine.
type Guest struct {
	// Name, unique. Required.
	Name string `yaml:"name"`
	// MemoryMiB, 16 at least and no more than a server has for guests.
	// Required. VCPUs, 1 to 256; default 1.
	MemoryMiB int `yaml:"memory_mib"`
	VCPUs     int `yaml:"vcpus"`
	// Machine type of QEMU, with its version: both ends of a move must have
	// it. Default pc-q35-10.0.
	Machine string `yaml:"machine"`
	// CPU model; default max with tcg, host with kvm. Servers with different
	// CPUs need a named model.
	CPU string `yaml:"cpu"`
	// Kernel, Initrd and Cmdline (2048 bytes at most) to boot directly.
	// Required: kernel and initrd.
	Kernel  string `yaml:"kernel"`
	Initrd  string `yaml:"initrd"`
	Cmdline string `yaml:"cmdline"`
	// MAC on the station bus. Required, and unique: it stays the same
	// wherever the guest runs.
	MAC string `yaml:"mac"`
	// BudgetMs is the hard downtime budget: a planned move never stops the
	// guest for longer. Required.
	BudgetMs int `yaml:"budget_ms"`
	// RedundancyGroup: guests of one group never share a host and never move
	// at the same time. Default none.
	RedundancyGroup string `yaml:"redundancy_group"`
	// PreferredHost; default none.
	PreferredHost string `yaml:"preferred_host"`
	// Autostart the guest when it is first seen; default true. Later the
	// operator's last order stands.
	Autostart *bool `yaml:"autostart"`
	// Disks, at most 8: /dev/vda, /dev/vdb, … in this order. Default none.
	Disks []Disk `yaml:"disks"`
}

// Starts tells whether the guest is to be started when it is first seen.
func (g Guest) Starts() bool { return g.Autostart == nil || *g.Autostart }

// Roles of hosts.
const (
	Server  = "server"
	Witness = "witness"
)

// Kinds of watchdogs.
const (
	WatchdogDevice     = "device"
	WatchdogPowerStrip = "power-strip"
	WatchdogNone       = "none"
)

// Host by its name.
func (s Site) Host(name string) (Host, bool) {
	for _, h := range s.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return Host{}, false
}

// Addresses of the host, one for each LAN that it is on.
func (h Host) Addresses() []string {
	if h.LanB == "" {
		return []string{h.LanA}
	}
	return []string{h.LanA, h.LanB}
}

// defaults fills the fields that has says were not written. One that was
// written as 0 or "" stays, for the checks to judge.
func (s *Site) defaults(has func(field string) bool) {
	text := func(at string, field *string, standard string) {
		if !has(at) {
			*field = standard
		}
	}
	number := func(at string, field *int, standard int) {
		if !has(at) {
			*field = standard
		}
	}
	text("$.state_dir", &s.StateDir, "/var/lib/bumpless")
	text("$.run_dir", &s.RunDir, "/run/bumpless")
	text("$.pki_dir", &s.PKIDir, "/etc/bumpless/pki")
	number("$.timing.lease_ms", &s.Timing.LeaseMs, 3000)
	number("$.timing.leader_lease_ms", &s.Timing.LeaderLeaseMs, 1000)
	number("$.timing.clock_drift_ppm", &s.Timing.ClockDriftPPM, 500)
	number("$.timing.watchdog_timeout_ms", &s.Timing.WatchdogTimeoutMs, 4000)
	number("$.timing.reset_time_ms", &s.Timing.ResetTimeMs, 2000)
	number("$.timing.pet_interval_ms", &s.Timing.PetIntervalMs, 500)
	number("$.timing.election_ms", &s.Timing.ElectionMs, 500)
	text("$.qemu.binary", &s.QEMU.Binary, "qemu-system-x86_64")
	text("$.qemu.accel", &s.QEMU.Accel, "kvm")
	text("$.move.policy", &s.Move.Policy, "bumpless")
	number("$.move.margin_ms", &s.Move.MarginMs, 30)
	number("$.move.waking_ms", &s.Move.WakingMs, 0)
	number("$.move.connections", &s.Move.Connections, 2)
	number("$.move.timeout_s", &s.Move.TimeoutS, 600)
	number("$.move.delta_cache_percent", &s.Move.DeltaCachePercent, 50)
	number("$.move.before_stop_ms", &s.Move.BeforeStopMs, 2000)
	number("$.links.lan_a.reserve_mbit_per_s", &s.Links.LanA.ReserveMbitPerS, 10)
	number("$.links.lan_b.reserve_mbit_per_s", &s.Links.LanB.ReserveMbitPerS, 10)
	for i := range s.Hosts {
		h, at := &s.Hosts[i], fmt.Sprintf("$.hosts[%d]", i)
		number(at+".raft_port", &h.RaftPort, 7001)
		number(at+".api_port", &h.APIPort, 7002)
		text(at+".watchdog.path", &h.Watchdog.Path, "/dev/watchdog")
		number(at+".console.baud", &h.Console.Baud, 115200)
		text(at+".console.role", &h.Console.Role, "OPERATOR")
	}
	for i := range s.Guests {
		g, at := &s.Guests[i], fmt.Sprintf("$.guests[%d]", i)
		number(at+".vcpus", &g.VCPUs, 1)
		text(at+".machine", &g.Machine, "pc-q35-10.0")
		cpu := "host"
		if s.QEMU.Accel == "tcg" {
			cpu = "max"
		}
		text(at+".cpu", &g.CPU, cpu)
		for j := range g.Disks {
			text(fmt.Sprintf("%s.disks[%d].format", at, j), &g.Disks[j].Format, FormatRaw)
		}
	}
}

// Ms makes a duration of a field in milliseconds.
func Ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }
