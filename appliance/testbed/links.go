package testbed

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// SetLink shapes what goes to the host over a LAN, in bits per second (tbf); 0
// ends that.
func (b *Bed) SetLink(host, lan string, bitsPerS int64) error {
	if bitsPerS == 0 {
		return run("tc", "qdisc replace dev", Port(host, lan), "root noqueue")
	}
	// A bucket of 4 ms, at least 16 KiB, so that short bursts pass and the
	// rate holds over the tens of milliseconds that a switchover takes.
	burst := max(16<<10, bitsPerS/8/250)
	return run("tc", "qdisc replace dev", Port(host, lan), "root tbf rate", fmt.Sprint(bitsPerS), "burst", fmt.Sprint(burst), "latency 20ms")
}

// Stall lets nothing pass over the host's port, in either direction, without
// telling anybody: its carrier stays up.
func (b *Bed) Stall(host, lan string) error {
	return ip("link set", Port(host, lan), "nomaster")
}

// Heal ends a Stall or a Cut.
func (b *Bed) Heal(host, lan string) error {
	return ip("link set", Port(host, lan), "master", lan, "up")
}

// Cut pulls the cable: the carrier is lost at both ends.
func (b *Bed) Cut(host, lan string) error { return ip("link set", Port(host, lan), "down") }

// LinkBytes counts the bytes that a host has sent over both LANs since it was
// plugged in, at the fabric's ports: frames whole, whatever they carry.
func (b *Bed) LinkBytes(host string) (int64, error) {
	// /proc/net is of this process's network namespace, /sys is of another.
	table, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return 0, fmt.Errorf("count the bytes of %s: %w", host, err)
	}
	var sum int64
	found := 0
	for _, line := range strings.Split(string(table), "\n") {
		name, counters, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != Port(host, LANA) && name != Port(host, LANB) {
			continue
		}
		n, err := strconv.ParseInt(strings.Fields(counters + " x")[0], 10, 64) // bytes received come first
		if err != nil {
			return 0, fmt.Errorf("count the bytes of %s: %w", host, err)
		}
		sum += n
		found++
	}
	if found != 2 {
		return 0, fmt.Errorf("count the bytes of %s: %d of its 2 ports are there", host, found)
	}
	return sum, nil
}
