package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"bumpless/appliance/guest"
	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/pair"
	"bumpless/appliance/testbed/protection"
)

const guestName = pair.Guest

var hosts = pair.Hosts

// rig is two hosts and a guest that moves there and back: what has moved moves
// back in the next run.
type rig struct {
	*pair.Pair
	cache     string // of the protection guest
	load      load
	cable     cable
	bytesPerS float64 // measured on the link
	endDelay  func() error
}

func newRig(dir, binary, cache string) (*rig, error) {
	p, err := pair.New(dir, binary)
	return &rig{Pair: p, cache: cache}, err
}

func (g *rig) close() error { return errors.Join(g.setDelay(0), g.Close()) }

// spec of the load's guest.
func (l load) spec(cache string, settings protection.Settings) guest.Spec {
	s := guest.Spec{Name: guestName, MemoryMiB: l.memoryMiB(), VCPUs: 1, Machine: "pc-q35-10.0", CPU: "max", Accel: "tcg",
		Kernel: filepath.Join(cache, "guest-vmlinuz"), Initrd: filepath.Join(cache, "guest-initrd"),
		Cmdline: testbed.BootLine + " " + settings.CommandLine(), MAC: "52:54:00:00:00:01", Bridge: testbed.BusBridge}
	if l.program != "" {
		s.Disks = []guest.Disk{{Path: userland(cache), Format: "raw", ReadOnly: true}}
	}
	return s
}

// userland is the image that `make guest-userland` builds.
func userland(cache string) string { return filepath.Join(cache, "guest-userland.img") }

// boot starts a guest with the load on the first host, and waits until the load
// runs.
func (g *rig) boot(ctx context.Context, l load) error {
	g.load = l
	settings := protection.Defaults()
	settings.Dirty, settings.Load = l.regions, l.program
	if _, err := os.Stat(userland(g.cache)); err != nil && l.program != "" {
		return fmt.Errorf("boot the guest for %s: %w: run `make guest-userland`", l.name, err)
	}
	if err := g.Boot(ctx, settings, func(string) guest.Spec { return l.spec(g.cache, settings) }); err != nil {
		return fmt.Errorf("%s: %w", l.name, err)
	}
	return nil
}

// linkBytes that crossed the link so far, both ways.
func (g *rig) linkBytes() (sum int64, err error) {
	for _, host := range hosts {
		n, err := g.Bed.LinkBytes(host)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
