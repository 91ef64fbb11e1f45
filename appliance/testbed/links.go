package testbed

import "fmt"

// SetLink shapes what goes to the host over a LAN, in bits per second (tbf).
func (b *Bed) SetLink(host, lan string, bitsPerS int64) error {
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
