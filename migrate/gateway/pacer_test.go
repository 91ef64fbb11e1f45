package gateway

import (
	"net"
	"os"
	"testing"
)

const netDev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0
  lana:5 1 0 0 0 0 0 0 123456789012 987654 0 0 0 0 0 0
 lanab: 7 1 0 0 0 0 0 0 9 3 0 0 0 0 0 0
 short: 7 1
`

func TestWhatAnInterfaceHasSentIsReadFromProc(t *testing.T) {
	for _, c := range []struct {
		name           string
		bytes, packets int64
		found          bool
	}{
		{"lo", 1000, 10, true},
		{"lana", 123456789012, 987654, true},
		{"lanab", 9, 3, true},
		{"lan", 0, 0, false},
		{"short", 0, 0, false},
		{"face |bytes    packets errs drop fifo frame compressed multicast|bytes", 0, 0, false},
	} {
		bytes, packets, err := transmitted([]byte(netDev), c.name)
		if bytes != c.bytes || packets != c.packets || (err == nil) != c.found {
			t.Errorf("transmitted(%q) = %d, %d, %v; want %d, %d, found %v", c.name, bytes, packets, err, c.bytes, c.packets, c.found)
		}
	}
	table, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := transmitted(table, "lo"); err != nil {
		t.Error("this machine's own table:", err)
	}
}

func TestALANOfUnknownCapacityIsNotPaced(t *testing.T) {
	loopback := net.IPv4(127, 0, 0, 1)
	name, err := interfaceOf(loopback)
	if err != nil {
		t.Fatal(err)
	}
	if n := speedOf(name); n != 0 {
		t.Fatalf("speedOf(%s) = %.0f; loopback has none", name, n)
	}
	for _, c := range []struct {
		name    string
		address string
		lans    []LAN
		want    float64 // capacity in bytes per second; 0: not paced
	}{
		{"no LAN is described", "a:1", nil, 0},
		{"the interface does not say", "a:1", []LAN{{ReserveMbitPerS: 10}}, 0},
		{"it is written", "a:1", []LAN{{CapacityMbitPerS: 200, ReserveMbitPerS: 10}}, 25e6},
		{"the second one's", "b:1", []LAN{{CapacityMbitPerS: 200}, {CapacityMbitPerS: 400}}, 50e6},
		{"only the first one's", "b:1", []LAN{{CapacityMbitPerS: 200}}, 0},
		{"another address", "c:1", []LAN{{CapacityMbitPerS: 200}, {CapacityMbitPerS: 400}}, 0},
	} {
		got := 0.0
		if l := newPacedLAN(SourceConfig{Addresses: []string{"a:1", "b:1"}, LANs: c.lans}, c.address, loopback); l != nil {
			got = l.capacity
		}
		if got != c.want {
			t.Errorf("%s: capacity = %.0f; want %.0f", c.name, got, c.want)
		}
	}
	if l := newPacedLAN(SourceConfig{Addresses: []string{"a:1"}, LANs: []LAN{{CapacityMbitPerS: 1}}}, "a:1", net.IPv4(203, 0, 113, 1)); l != nil {
		t.Error("an address of no interface is paced")
	}
}
