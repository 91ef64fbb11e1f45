package main

import (
	"context"
	"errors"
	"fmt"
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

// boot starts a guest with the load on the first host, and waits until it has
// filled its memory and verified it.
func (g *rig) boot(ctx context.Context, l load) error {
	g.load = l
	settings := protection.Defaults()
	settings.Dirty = l.regions
	err := g.Boot(ctx, settings, func(string) guest.Spec {
		return guest.Spec{
			Name: guestName, MemoryMiB: guestMiB, VCPUs: 1, Machine: "pc-q35-10.0", CPU: "max", Accel: "tcg",
			Kernel: filepath.Join(g.cache, "guest-vmlinuz"), Initrd: filepath.Join(g.cache, "guest-initrd"),
			Cmdline: testbed.BootLine + " " + settings.CommandLine(), MAC: "52:54:00:00:00:01", Bridge: testbed.BusBridge}
	})
	if err != nil {
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
