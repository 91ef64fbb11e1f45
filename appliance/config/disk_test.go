package config

import (
	"reflect"
	"strings"
	"testing"
)

// withDisks is a site whose two guests have these disks.
func withDisks(first, second string) string {
	return `version: 1
site: north
hosts:
  - {name: host-a, role: server, lan_a: 10.1.0.1, memory_for_guests_mib: 8192, bus_bridge: br, watchdog: {kind: device}}
guests:
  - name: g1
    memory_mib: 64
    kernel: /k
    initrd: /i
    mac: 52:54:00:00:01:01
    budget_ms: 300
    disks: ` + first + `
  - {name: g2, memory_mib: 64, kernel: /k, initrd: /i, mac: 52:54:00:00:01:02, budget_ms: 300, disks: ` + second + `}
`
}

func TestDisksAreRead(t *testing.T) {
	s, err := Parse("f", []byte(withDisks("[{path: /a, kind: shared}, {path: /b, kind: local, format: qcow2, size_mib: 64}]", "[]")))
	if err != nil {
		t.Fatal(err)
	}
	want := []Disk{{Path: "/a", Kind: DiskShared, Format: FormatRaw}, {Path: "/b", Kind: DiskLocal, Format: FormatQcow2, SizeMiB: 64}}
	if got := s.Guests[0].Disks; !reflect.DeepEqual(got, want) {
		t.Errorf("disks = %+v; want %+v", got, want)
	}
}

func TestWrongDisksAreNamedWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ first, second, want string }{
		{"[{kind: shared}]", "[]", `f:12:13: $.guests[0].disks[0].path: "", want an absolute path`},
		{"[{path: /a}]", "[]", `f:12:13: $.guests[0].disks[0].kind: "", want shared or local`},
		{"[{path: /a, kind: local}]", "[]", "f:12:13: $.guests[0].disks[0].size_mib: 0, want 1 to"},
		{"[{path: /a, kind: shared, size_mib: 64}]", "[]", "f:12:48: $.guests[0].disks[0].size_mib: 64, but a shared disk is made by nobody"},
		{"[{path: /a, kind: shared}, {path: /a, kind: shared}]", "[]", "f:12:46: $.guests[0].disks[1].path: disk /a is used by $.guests[0].disks[0].path already"},
		{"[{path: /a, kind: shared}]", "[{path: //a/., kind: shared}]", "$.guests[1].disks[0].path: disk /a is used by $.guests[0].disks[0].path already"},
		{"[{path: /a, kind: shared, bus: ide}]", "[]", `unknown field "bus"`},
		{"{path: /a}", "[]", "$.guests[0].disks: want a list"},
		{"[" + strings.Repeat("{path: /a, kind: shared}, ", 8) + "{path: /b, kind: shared}]", "[]", "f:12:5: $.guests[0].disks: 9 disks, at most 8"},
	} {
		_, err := Parse("f", []byte(withDisks(c.first, c.second)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("disks: %.50s %.50s: Parse() = %v; want %s", c.first, c.second, err, c.want)
		}
	}
}
