package main

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"bumpless/appliance/testbed/protection"

	"golang.org/x/sys/unix"
)

// counters are what the data set reports. They lie in memory that the
// publishing process shares.
type counters struct {
	bootID                       atomic.Uint32
	trip                         atomic.Uint32 // 0 or 1
	written, passes, corrupt     atomic.Uint64
	samplesReceived, samplesLost atomic.Uint64

	diskWritten, diskPasses, diskCorrupt atomic.Uint64
	loadRounds, loadFailures             atomic.Uint64
}

func (c *counters) report() protection.Report {
	return protection.Report{BootID: c.bootID.Load(), PagesWritten: c.written.Load(), VerifyPasses: c.passes.Load(),
		CorruptPages: c.corrupt.Load(), SVReceived: c.samplesReceived.Load(), SVLost: c.samplesLost.Load(), Trip: c.trip.Load() != 0,
		DiskWritten: c.diskWritten.Load(), DiskPasses: c.diskPasses.Load(), DiskCorrupt: c.diskCorrupt.Load(),
		LoadRounds: c.loadRounds.Load(), LoadFailures: c.loadFailures.Load()}
}

func (c *counters) setTrip(on bool) {
	if on {
		c.trip.Store(1)
	} else {
		c.trip.Store(0)
	}
}

// sharedFD is the shared memory's descriptor in the publishing process.
const sharedFD = 3

func shareCounters() (*os.File, *counters, error) {
	fd, err := unix.MemfdCreate("counters", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, fmt.Errorf("share the counters: %w", err)
	}
	f := os.NewFile(uintptr(fd), "counters")
	if err := f.Truncate(protection.PageSize); err != nil {
		return nil, nil, fmt.Errorf("share the counters: %w", err)
	}
	c, err := mapCounters(fd)
	return f, c, err
}

func mapCounters(fd int) (*counters, error) {
	b, err := unix.Mmap(fd, 0, protection.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the counters: %w", err)
	}
	return (*counters)(unsafe.Pointer(&b[0])), nil
}
