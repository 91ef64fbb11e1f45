package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// full writes every field, each on a line of its own.
const full = `version: 1
site: north
state_dir: /var/lib/bumpless
run_dir: /run/bumpless
pki_dir: /etc/bumpless/pki
timing:
  lease_ms: 3000
  leader_lease_ms: 1000
  clock_drift_ppm: 500
  watchdog_timeout_ms: 4000
  reset_time_ms: 2000
  pet_interval_ms: 500
  election_ms: 500
qemu:
  binary: qemu-system-x86_64
  accel: kvm
move:
  policy: bumpless
  margin_ms: 30
  waking_ms: 100
  connections: 2
  timeout_s: 600
  delta_cache_percent: 50
  before_stop: /usr/bin/true
  before_stop_ms: 2000
hosts:
  - name: host-a
    role: server
    lan_a: 10.1.0.1
    lan_b: 10.2.0.1
    raft_port: 7001
    api_port: 7002
    memory_for_guests_mib: 16384
    guest_cpus: [2, 3]
    bus_bridge: br-bus
    watchdog:
      kind: device
      path: /dev/watchdog
    console:
      device: /dev/ttyS0
      baud: 115200
      role: OPERATOR
  - {name: host-b, role: server, lan_a: 10.1.0.2, memory_for_guests_mib: 8192, bus_bridge: br, watchdog: {kind: device}}
  - {name: witness, role: witness, lan_a: 10.1.0.3}
guests:
  - name: main1
    memory_mib: 2048
    vcpus: 2
    machine: pc-q35-10.0
    cpu: host
    kernel: /vmlinuz
    initrd: /initrd
    cmdline: console=ttyS0
    mac: 52:54:00:00:01:01
    budget_ms: 300
    redundancy_group: bay-1
    preferred_host: host-a
    autostart: true
    disks:
      - path: /var/lib/main1.img
        kind: local
        format: raw
        size_mib: 1024
      - {path: /srv/main1.qcow2, kind: shared, format: qcow2}
  - {name: main2, memory_mib: 16, kernel: /k, initrd: /i, mac: 52:54:00:00:01:02, budget_ms: 300, redundancy_group: bay-1}
links:
  lan_a:
    capacity_mbit_per_s: 1000
    reserve_mbit_per_s: 10
  lan_b:
    capacity_mbit_per_s: 1000
    reserve_mbit_per_s: 10
`

// indexOf finds the field's line in full: the first with its name behind the
// lines of the fields above it.
func indexOf(t *testing.T, field string) int {
	t.Helper()
	lines := strings.Split(full, "\n")
	at := 0
	for _, word := range strings.Split(strings.ReplaceAll(strings.TrimPrefix(field, "$."), "[0]", ""), ".") {
		for ; at < len(lines) && !strings.HasPrefix(strings.TrimLeft(lines[at], " -"), word+":"); at++ {
		}
	}
	if at == len(lines) {
		t.Fatalf("%s is not in the file", field)
	}
	return at
}

// put writes the value of one field; its place is from 1.
func put(t *testing.T, field, value string) (text string, line, column int) {
	lines := strings.Split(full, "\n")
	at := indexOf(t, field)
	name, _, _ := strings.Cut(lines[at], ":")
	lines[at] = name + ": " + value
	return strings.Join(lines, "\n"), at + 1, len(name) + 3
}

func text(n int) string { return strings.Repeat("x", n) }

var bounds = []struct{ field, value, want string }{
	{"$.version", "0", "0, this release understands 1"},
	{"$.version", "2", "2, this release understands 1"},
	{"$.site", `""`, "1 to 64 bytes"},
	{"$.site", text(65), "1 to 64 bytes"},
	{"$.site", `"a\nb"`, `"a\nb" cannot be printed at byte 1`},
	{"$.site", `"a\u202eb"`, "cannot be printed"},
	{"$.state_dir", "var/lib", "want an absolute path"},
	{"$.state_dir", "/" + text(255), "at most 255 bytes"},
	{"$.run_dir", "run", "want an absolute path"},
	{"$.run_dir", "/" + text(40), "41 bytes long, at most 40"},
	{"$.pki_dir", `""`, "want an absolute path"},
	{"$.timing.lease_ms", "0", "0, want 100 to 600000"},
	{"$.timing.lease_ms", "99", "99, want 100 to 600000"},
	{"$.timing.lease_ms", "600001", "600001, want 100 to 600000"},
	{"$.timing.lease_ms", "1999", "at least four petting intervals of 500"},
	{"$.timing.lease_ms", "1999", "at least four times election_ms (500)"},
	{"$.timing.leader_lease_ms", "-1", "-1, want 0 to 600000"},
	{"$.timing.leader_lease_ms", "600001", "want 0 to 600000"},
	{"$.timing.clock_drift_ppm", "-1", "want 0 to 100000"},
	{"$.timing.clock_drift_ppm", "100001", "want 0 to 100000"},
	{"$.timing.watchdog_timeout_ms", "99", "want 100 to 600000"},
	{"$.timing.watchdog_timeout_ms", "600001", "want 100 to 600000"},
	{"$.timing.watchdog_timeout_ms", "999", "at least two petting intervals of 500"},
	{"$.timing.watchdog_timeout_ms", "4500", "want whole seconds: the watchdog device of host"},
	{"$.timing.reset_time_ms", "-1", "want 0 to 600000"},
	{"$.timing.reset_time_ms", "600001", "want 0 to 600000"},
	{"$.timing.pet_interval_ms", "9", "want 10 to 60000"},
	{"$.timing.pet_interval_ms", "60001", "want 10 to 60000"},
	{"$.timing.election_ms", "99", "want 100 to 60000"},
	{"$.timing.election_ms", "60001", "want 100 to 60000"},
	{"$.qemu.binary", `""`, "1 to 255 bytes"},
	{"$.qemu.binary", text(256), "1 to 255 bytes"},
	{"$.qemu.accel", "xen", `"xen", want kvm or tcg`},
	{"$.qemu.accel", `""`, "want kvm or tcg"},
	{"$.move.policy", "magic", "want one of"},
	{"$.move.margin_ms", "0", "want 1 to 10000"},
	{"$.move.margin_ms", "10001", "want 1 to 10000"},
	{"$.move.waking_ms", "-1", "want 0 to 600000"},
	{"$.move.waking_ms", "600001", "want 0 to 600000"},
	{"$.move.connections", "0", "want 1 to 16"},
	{"$.move.connections", "17", "want 1 to 16"},
	{"$.move.timeout_s", "0", "want 1 to 86400"},
	{"$.move.delta_cache_percent", "-1", "want 0 to 100"},
	{"$.move.delta_cache_percent", "101", "want 0 to 100"},
	{"$.move.timeout_s", "86401", "want 1 to 86400"},
	{"$.move.before_stop", "check.sh", "want an absolute path"},
	{"$.move.before_stop_ms", "0", "want 1 to 60000"},
	{"$.move.before_stop_ms", "60001", "want 1 to 60000"},
	{"$.links.lan_a.capacity_mbit_per_s", "-1", "want 0 to 1000000"},
	{"$.links.lan_a.capacity_mbit_per_s", "1000001", "want 0 to 1000000"},
	{"$.links.lan_a.reserve_mbit_per_s", "-1", "want 0 to 1000000"},
	{"$.links.lan_a.reserve_mbit_per_s", "1000", "want less than capacity_mbit_per_s (1000)"},
	{"$.links.lan_b.capacity_mbit_per_s", "1000001", "want 0 to 1000000"},
	{"$.links.lan_b.reserve_mbit_per_s", "1000001", "want 0 to 1000000"},
	{"$.hosts[0].name", "Host_A", "want 1 to 32 of a-z"},
	{"$.hosts[0].name", "-a", "want 1 to 32 of a-z"},
	{"$.hosts[0].name", text(33), "want 1 to 32 of a-z"},
	{"$.hosts[0].role", "king", "want server or witness"},
	{"$.hosts[0].lan_a", "10.1.0", "is not an IP address"},
	{"$.hosts[0].lan_a", `"::"`, "is not the address of one host"},
	{"$.hosts[0].lan_a", "224.0.0.1", "is not the address of one host"},
	{"$.hosts[0].lan_b", "nowhere", "is not an IP address"},
	{"$.hosts[0].lan_b", "10.1.0.1", "address 10.1.0.1 is used by $.hosts[0].lan_a already"},
	{"$.hosts[0].lan_b", `"::ffff:10.1.0.1"`, "address 10.1.0.1 is used by $.hosts[0].lan_a already"},
	{"$.hosts[0].raft_port", "0", "want 1 to 65535"},
	{"$.hosts[0].raft_port", "65536", "want 1 to 65535"},
	{"$.hosts[0].api_port", "0", "want 1 to 65535"},
	{"$.hosts[0].api_port", "65536", "want 1 to 65535"},
	{"$.hosts[0].api_port", "7001", "7001 is the raft_port too"},
	{"$.hosts[0].memory_for_guests_mib", "15", "want 16 to 16777216"},
	{"$.hosts[0].memory_for_guests_mib", "16777217", "want 16 to 16777216"},
	{"$.hosts[0].bus_bridge", `""`, "a server needs the name of its station bus bridge"},
	{"$.hosts[0].bus_bridge", text(16), "1 to 15 of letters"},
	{"$.hosts[0].bus_bridge", "a,b", "1 to 15 of letters"},
	{"$.hosts[0].watchdog.kind", "none", "could run a guest twice"},
	{"$.hosts[0].watchdog.path", "watchdog", "want an absolute path"},
	{"$.hosts[0].watchdog.path", "/" + text(107), "at most 107 bytes"},
	{"$.hosts[0].console.device", "ttyS0", "want an absolute path"},
	{"$.hosts[0].console.baud", "0", "0 is not a usual rate"},
	{"$.hosts[0].console.baud", "115201", "is not a usual rate"},
	{"$.hosts[0].console.role", "KING", "want one of [VIEWER"},
	{"$.guests[0].name", "", "no value"},
	{"$.guests[0].name", "a b", "want 1 to 32 of a-z"},
	{"$.guests[0].memory_mib", "15", "want 16 to 16777216"},
	{"$.guests[0].memory_mib", "16777217", "want 16 to 16777216"},
	{"$.guests[0].memory_mib", "16385", "fits no server: the largest has 16384"},
	{"$.guests[0].vcpus", "0", "want 1 to 256"},
	{"$.guests[0].vcpus", "257", "want 1 to 256"},
	{"$.guests[0].machine", "pc,usb=on", "is not a machine type"},
	{"$.guests[0].machine", `""`, "is not a machine type"},
	{"$.guests[0].cpu", `"a b"`, "is not a CPU model"},
	{"$.guests[0].kernel", "vmlinuz", "want an absolute path"},
	{"$.guests[0].initrd", "/" + text(255), "at most 255 bytes"},
	{"$.guests[0].cmdline", text(2049), "2049 bytes, the kernel takes 2048"},
	{"$.guests[0].cmdline", `"a\0b"`, "cannot be printed at byte 1"},
	{"$.guests[0].mac", "52:54:00:00:01", "is not the address of one station"},
	{"$.guests[0].mac", "53:54:00:00:01:01", "is not the address of one station"},
	{"$.guests[0].mac", "00:00:00:00:00:00", "is not the address of one station"},
	{"$.guests[0].budget_ms", "30", "more than move.margin_ms (30)"},
	{"$.guests[0].budget_ms", "600001", "at most 600000"},
	{"$.guests[0].redundancy_group", "Bay 1", "want 1 to 32 of a-z"},
	{"$.guests[0].preferred_host", "witness", "is not a server of this site"},
	{"$.guests[0].preferred_host", "nobody", "is not a server of this site"},
	{"$.guests[0].autostart", "maybe", "want true or false"},
	{"$.guests[0].disks[0].path", "main1.img", "want an absolute path"},
	{"$.guests[0].disks[0].path", "/" + text(255), "at most 255 bytes"},
	{"$.guests[0].disks[0].kind", "remote", `"remote", want shared or local`},
	{"$.guests[0].disks[0].kind", `""`, "want shared or local"},
	{"$.guests[0].disks[0].format", "vmdk", `"vmdk", want raw or qcow2`},
	{"$.guests[0].disks[0].format", `""`, "want raw or qcow2"},
	{"$.guests[0].disks[0].size_mib", "0", "0, want 1 to 16777216"},
	{"$.guests[0].disks[0].size_mib", "16777217", "want 1 to 16777216"},
}

func TestAValueOutOfBoundsIsNamedWithItsLineAndColumn(t *testing.T) {
	if _, err := Parse("full.yaml", []byte(full)); err != nil {
		t.Fatal(err)
	}
	for _, c := range bounds {
		text, line, column := put(t, c.field, c.value)
		_, err := Parse("full.yaml", []byte(text))
		want := fmt.Sprintf("site file full.yaml:%d:%d: %s: ", line, column, c.field)
		if c.want == "no value" { // there is no value; the place is right behind the colon
			want = fmt.Sprintf("site file full.yaml:%d:%d: %s: ", line, column-1, c.field)
		}
		if err == nil || !slices.ContainsFunc(strings.Split(err.Error(), "\n"), func(e string) bool {
			return strings.HasPrefix(e, want) && strings.Contains(e, c.want)
		}) {
			t.Errorf("%s: %.40s: Parse() = %v; want %s… %s", c.field, c.value, err, want, c.want)
		}
	}
}

// unbounded fields take a list, which has a test of its own.
var unbounded = []string{"$.hosts[0].guest_cpus"}

func TestNoFieldIsForgotten(t *testing.T) {
	tested := map[string]bool{}
	for _, c := range bounds {
		tested[c.field] = true
	}
	for _, field := range leaves(reflect.TypeFor[Site](), "$") {
		if !tested[field] && !slices.Contains(unbounded, field) {
			t.Errorf("no case gives %s a wrong value", field)
		}
		indexOf(t, field)
	}
}

func leaves(s reflect.Type, path string) (all []string) {
	for i := range s.NumField() {
		f := s.Field(i)
		at := path + "." + f.Tag.Get("yaml")
		switch {
		case f.Type.Kind() == reflect.Struct:
			all = append(all, leaves(f.Type, at)...)
		case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
			all = append(all, leaves(f.Type.Elem(), at+"[0]")...)
		default:
			all = append(all, at)
		}
	}
	return all
}

func TestAWrongTypeIsNamedWithItsLineAndColumn(t *testing.T) {
	wrong := map[string][]string{
		"$.timing.lease_ms":          {"3000.5", "1e3", `"3000"`, "0x1000", "010", "1_000", "3 s", "true", "[1]", "{a: 1}", "99999999999999999999", "~"},
		"$.site":                     {"5", "true", "1.5", "[a]", "{a: b}", "null", "!!str x", "&a x"},
		"$.guests[0].autostart":      {"1", `"yes"`, "[true]", "null"},
		"$.hosts[0].guest_cpus":      {"5", "x", "{a: 1}", "null"},
		"$.hosts[0].watchdog":        {"x", "[a]"},
		"$.hosts[0].watchdog.kind":   {"7"},
		"$.guests[0].budget_ms":      {"300ms"},
		"$.guests[0].disks[0].path":  {"5", "[a]"},
		"$.guests[0].disks[0].kind":  {"true"},
		"$.guests[0].preferred_host": {"1"},
	}
	for field, values := range wrong {
		for _, value := range values {
			text, line, _ := put(t, field, value)
			if field == "$.hosts[0].watchdog" { // its fields go
				text = strings.Replace(strings.Replace(text, "      kind: device\n", "", 1), "      path: /dev/watchdog\n", "", 1)
			}
			_, err := Parse("full.yaml", []byte(text))
			var e *Error
			if !errors.As(err, &e) || e.Line != line || e.Column < 1 || !strings.HasPrefix(e.Field, "$") {
				t.Errorf("%s: %s: Parse() = %v; want an error in line %d", field, value, err, line)
			}
		}
	}
}

func TestListsAreChecked(t *testing.T) {
	for value, want := range map[string]string{
		"[2, x]": "34:21: $.hosts[0].guest_cpus[1]: want a whole number", "[-1]": "34:18: $.hosts[0].guest_cpus[0]: -1, want 0 to 1023",
		"[1024]": "34:18: $.hosts[0].guest_cpus[0]: 1024, want 0 to 1023", "[2, 3, 2]": "34:24: $.hosts[0].guest_cpus[2]: CPU 2 is in the list already",
		"[" + strings.Repeat("1,", 1024) + "1]": "34:5: $.hosts[0].guest_cpus: a list of 1025, at most 1024",
		"[[2]]":                                 "34:18: $.hosts[0].guest_cpus[0]: want a whole number",
	} {
		text, _, _ := put(t, "$.hosts[0].guest_cpus", value)
		if _, err := Parse("f", []byte(text)); err == nil || !strings.Contains(err.Error(), "f:"+want) {
			t.Errorf("guest_cpus: %.30s: Parse() = %v; want %s", value, err, want)
		}
	}
	for _, c := range []struct{ list, item, want string }{
		{"hosts:", "  - {name: h%d, role: witness, lan_a: 10.9.0.%d}\n", "26:1: $.hosts: 19 hosts, want 1 to 16"},
		{"guests:", "  - {name: g%d, memory_mib: 16, kernel: /k, initrd: /i, mac: \"52:54:00:00:02:%02x\", budget_ms: 300}\n", "45:1: $.guests: 66 guests, at most 64"},
	} {
		var items strings.Builder
		for i := range map[string]int{"hosts:": 16, "guests:": 64}[c.list] {
			fmt.Fprintf(&items, c.item, i+1, i+1)
		}
		text := strings.Replace(full, c.list+"\n", c.list+"\n"+items.String(), 1)
		if _, err := Parse("f", []byte(text)); err == nil || !strings.Contains(err.Error(), "f:"+c.want) {
			t.Errorf("Parse() = %.300v; want %s", err, c.want)
		}
	}
}

func TestAMissingFieldThatIsRequiredIsNamedWithAPlace(t *testing.T) {
	for _, field := range []string{"$.version", "$.site", "$.hosts[0].name", "$.hosts[0].role", "$.hosts[0].lan_a", "$.hosts[0].memory_for_guests_mib",
		"$.hosts[0].bus_bridge", "$.hosts[0].watchdog.kind", "$.guests[0].name", "$.guests[0].memory_mib", "$.guests[0].kernel", "$.guests[0].initrd",
		"$.guests[0].mac", "$.guests[0].budget_ms"} {
		lines := strings.Split(full, "\n")
		at := indexOf(t, field)
		keep := "" // what begins a list's item must stay
		if strings.HasPrefix(lines[at], "  - ") {
			keep = "  -"
		}
		lines[at] = keep
		_, err := Parse("f", []byte(strings.Join(lines, "\n")))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), field+": ") || e.Line < 1 || e.Line > at+2 || e.Column < 1 {
			t.Errorf("without %s: Parse() = %v; want it named, with a place", field, err)
		}
	}
}

func TestAFieldThatMayBeMissingHasItsDefault(t *testing.T) {
	s, err := Parse("f", []byte("version: 1\nsite: s\nhosts: [{name: h, role: witness, lan_a: 10.0.0.1}]"))
	if err != nil {
		t.Fatal(err)
	}
	want := Site{Version: 1, Site: "s", StateDir: "/var/lib/bumpless", RunDir: "/run/bumpless", PKIDir: "/etc/bumpless/pki",
		Timing: Timing{LeaseMs: 3000, LeaderLeaseMs: 1000, ClockDriftPPM: 500, WatchdogTimeoutMs: 4000, ResetTimeMs: 2000, PetIntervalMs: 500, ElectionMs: 500},
		QEMU:   QEMU{Binary: "qemu-system-x86_64", Accel: "kvm"},
		Move:   Move{Policy: "bumpless", MarginMs: 30, Connections: 2, TimeoutS: 600, DeltaCachePercent: 50, BeforeStopMs: 2000},
		Links:  Links{LanA: Link{ReserveMbitPerS: 10}, LanB: Link{ReserveMbitPerS: 10}},
		Hosts: []Host{{Name: "h", Role: Witness, LanA: "10.0.0.1", RaftPort: 7001, APIPort: 7002,
			Watchdog: Watchdog{Path: "/dev/watchdog"}, Console: Console{Baud: 115200, Role: "OPERATOR"}}}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("Parse() = %+v; want %+v", s, want)
	}
}

func TestAZeroThatIsWrittenIsNoDefault(t *testing.T) {
	text := full
	for _, field := range []string{"leader_lease_ms: 1000", "clock_drift_ppm: 500", "reset_time_ms: 2000", "reserve_mbit_per_s: 10"} {
		name, _, _ := strings.Cut(field, ":")
		text = strings.Replace(text, field, name+": 0", 1)
	}
	s, err := Parse("f", []byte(text))
	if err != nil || s.Timing.LeaderLeaseMs != 0 || s.Timing.ClockDriftPPM != 0 || s.Timing.ResetTimeMs != 0 || s.Links.LanA.ReserveMbitPerS != 0 {
		t.Errorf("Parse() = %+v, %+v, %v; want the zeros that are written", s.Timing, s.Links, err)
	}
}

func TestEveryProblemIsToldAtOnce(t *testing.T) {
	text := strings.Replace(strings.Replace(full, "vcpus: 2", "vcpus: 0", 1), "accel: kvm", "accel: xen", 1)
	_, err := Parse("f", []byte(text))
	if err == nil || !strings.Contains(err.Error(), "vcpus") || !strings.Contains(err.Error(), "accel") {
		t.Errorf("Parse() = %v; want both problems", err)
	}
}
