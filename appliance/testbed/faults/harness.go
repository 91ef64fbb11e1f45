package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bumpless/appliance/guest"
	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/pair"
	"bumpless/appliance/testbed/protection"
	"bumpless/appliance/testbed/rows"
)

// What is moved.
const (
	guestMiB     = 160
	diskMiB      = 8
	verifyPassMs = 500
	linkBitsPerS = 1_000_000_000 // of each LAN
)

// harness is a pair of hosts with a guest whose disk both reach.
type harness struct {
	*pair.Pair
	budgetMs      int
	marginMs      int
	wakingMs      int
	cache         string
	disk          string
	corruptBlocks uint64 // that the guest has found since it booted
}

func newHarness(dir string, o options) (*harness, error) {
	p, err := pair.New(dir, o.binary)
	h := &harness{Pair: p, budgetMs: o.budgetMs, marginMs: o.marginMs, wakingMs: o.wakingMs, cache: o.cache, disk: filepath.Join(dir, "shared.img")}
	if err != nil {
		return h, err
	}
	for _, host := range pair.Hosts {
		for _, lan := range lans {
			if err := h.Bed.SetLink(host, lan, linkBitsPerS); err != nil {
				return h, err
			}
		}
	}
	return h, nil
}

var lans = []string{testbed.LANA, testbed.LANB}

func other(host string) string { return pair.Other(host) }

// boot starts the guest with a blank disk.
func (h *harness) boot(ctx context.Context) error {
	if err := h.ShutDown(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(h.disk, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(h.disk, diskMiB<<20); err != nil {
		return err
	}
	settings := protection.Defaults()
	settings.VerifyPassMs, settings.DiskMiB = verifyPassMs, diskMiB
	err := h.Boot(ctx, settings, func(string) guest.Spec {
		return guest.Spec{Name: pair.Guest, MemoryMiB: guestMiB, VCPUs: 1, Machine: "pc-q35-10.0", CPU: "max", Accel: "tcg",
			Kernel: filepath.Join(h.cache, "guest-vmlinuz"), Initrd: filepath.Join(h.cache, "guest-initrd"),
			Cmdline: testbed.BootLine + " " + settings.CommandLine(), MAC: "52:54:00:00:00:01", Bridge: testbed.BusBridge,
			Disks: []guest.Disk{{Path: h.disk, Format: "raw"}}}
	})
	if err != nil {
		return err
	}
	last, _ := h.Observer.Last(settings.GocbRef)
	h.corruptBlocks = uint64(last.Report.DiskCorrupt)
	return nil
}

// all carries out the plan; at most so many switchovers, 0: all of them.
func (h *harness) all(ctx context.Context, p plan, seed uint64, most int, r *rows.File[Row], say func(string)) error {
	began := time.Now()
	for n := 0; most == 0 || n < most; n++ {
		t, more := p.next(r.Rows)
		if !more {
			return nil
		}
		if h.At == "" {
			if err := h.boot(ctx); err != nil {
				return err
			}
		}
		row, err := h.switchOver(ctx, t, len(r.Rows)+1, seed)
		if ctx.Err() != nil {
			return context.Cause(ctx) // what was interrupted is no result
		}
		if err != nil {
			// A guest in an unknown state is of no use for the next one.
			row.Violations = append(row.Violations, err.Error())
			if err := h.ShutDown(ctx); err != nil {
				return err
			}
		}
		if err := r.Add(row); err != nil {
			return err
		}
		say(fmt.Sprintf("%4.0f s  %3d/%d  %s", time.Since(began).Seconds(), len(r.Rows), p.count, row.line()))
	}
	return nil
}

// loadAverage of the machine: where it is high, times are of a machine that has
// other work.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
