package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Options of a bed.
type Options struct {
	Hosts []string // in the order of their numbers, from 1
	Dir   string   // for the hosts' disks and logs
	// LinkBitsPerS of each LAN's port, towards its host; 0: not shaped.
	LinkBitsPerS int64
}

// Bed is a small substation; see the package comment.
type Bed struct {
	options Options
	hosts   map[string]*Host
	strip   *strip
}

// LANs of the bed, and its station bus: names of bridges in the fabric and of
// interfaces on the hosts (the bus is bus0 there, under the bridge BusBridge).
const (
	LANA      = "lana"
	LANB      = "lanb"
	Bus       = "bus"
	BusBridge = "br-bus"
)

const setupWait = 60 * time.Second

// New builds the bed and boots all hosts. Enter must have been called.
func New(o Options) (*Bed, error) {
	b := &Bed{options: o, hosts: map[string]*Host{}}
	for _, bridge := range []string{Bus, LANA, LANB} {
		if err := ip("link add", bridge, "type bridge stp_state 0 mcast_snooping 0 forward_delay 0"); err != nil {
			return nil, err
		}
		if err := ip("link set", bridge, "up"); err != nil {
			return nil, err
		}
	}
	var err error
	if b.strip, err = newStrip(b); err != nil {
		return nil, err
	}
	for i, name := range o.Hosts {
		h := &Host{Name: name, Number: i + 1, Dir: filepath.Join(o.Dir, name), bed: b}
		if err := os.MkdirAll(h.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the disk of %s: %w", name, err)
		}
		b.hosts[name] = h
		if err := b.Boot(name); err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// Host by its name; nil when there is none.
func (b *Bed) Host(name string) *Host { return b.hosts[name] }

// Boot gives a host power and plugs its cables in.
func (b *Bed) Boot(name string) error {
	h := b.hosts[name]
	if err := h.PowerOn(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), setupWait)
	defer cancel()
	// The first answer says that process 1 has mounted what it needs.
	if _, err := h.Exec(ctx, "true"); err != nil {
		return err
	}
	return b.plugIn(ctx, h)
}

func (b *Bed) plugIn(ctx context.Context, h *Host) error {
	for _, lan := range []string{Bus, LANA, LANB} {
		port, inside := Port(h.Name, lan), lan
		if lan == Bus {
			inside = "bus0"
		}
		if err := ip("link add", port, "type veth peer name", inside, "netns", fmt.Sprint(h.pid())); err != nil {
			return err
		}
		if err := ip("link set", port, "master", lan, "up"); err != nil {
			return err
		}
		if lan != Bus && b.options.LinkBitsPerS > 0 {
			if err := b.SetLink(h.Name, lan, b.options.LinkBitsPerS); err != nil {
				return err
			}
		}
	}
	script := fmt.Sprintf(`set -e
ip link add %[1]s type bridge stp_state 0 mcast_snooping 0 forward_delay 0
ip link set bus0 master %[1]s up
ip link set %[1]s up
ip addr add %[2]s/24 dev lana; ip link set lana up
ip addr add %[3]s/24 dev lanb; ip link set lanb up
`, BusBridge, Address(h.Number, LANA), Address(h.Number, LANB))
	_, err := h.Exec(ctx, "sh", "-c", script)
	return err
}

// Address of host number n in a LAN.
func Address(n int, lan string) string {
	if lan == LANA {
		return fmt.Sprintf("10.77.1.%d", n)
	}
	return fmt.Sprintf("10.77.2.%d", n)
}

// Port is the fabric's end of a host's cable.
func Port(host, lan string) string { return host + "." + lan }

// PowerCut ends every process of a host at once, and unplugs its cables: the
// kernel takes its time to dissolve the host's end.
func (b *Bed) PowerCut(host string) error {
	h := b.hosts[host]
	if !h.On() {
		return nil
	}
	b.strip.disarm(host)
	err := h.PowerCut()
	for _, lan := range []string{Bus, LANA, LANB} {
		_ = ip("link del", Port(host, lan)) // it may have gone with its other end
	}
	return err
}

// Close switches everything off.
func (b *Bed) Close() error {
	var errs []error
	b.strip.close()
	for name := range b.hosts {
		errs = append(errs, b.PowerCut(name))
	}
	for _, bridge := range []string{Bus, LANA, LANB} {
		errs = append(errs, ip("link del", bridge))
	}
	return errors.Join(errs...)
}

// ip runs the ip command; words may hold blanks.
func ip(words ...string) error { return run("ip", words...) }

func run(program string, words ...string) error {
	args := strings.Fields(strings.Join(words, " "))
	cmd := exec.Command(program, args...)
	out, err := runOwn(cmd)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
