package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"bumpless/appliance/testbed/protection"

	"golang.org/x/sys/unix"
)

// diskDevice is the first virtio disk, or the one behind the userland.
func diskDevice(s protection.Settings) string {
	if s.Load != "" {
		return "/dev/vdb"
	}
	return "/dev/vda"
}

// verifyBlocks are read at once.
const verifyBlocks = 16

// disk is the block device without the kernel's cache: what is read comes from
// the host.
type disk struct{ *os.File }

func (d disk) Sync() error { return unix.Fdatasync(int(d.Fd())) }

// startDisk begins to write and verify blocks, if there is a disk.
func startDisk(s protection.Settings, c *counters) error {
	f, err := os.OpenFile(diskDevice(s), os.O_RDWR|unix.O_DIRECT, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open the disk: %w", err)
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("ask for the disk's size: %w", err)
	}
	buffer, err := unix.Mmap(-1, 0, verifyBlocks*protection.BlockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("allocate the disk's buffer: %w", err)
	}
	n := min(int64(s.DiskMiB)<<20, size) / protection.BlockSize
	go useDisk(protection.NewBlocks(disk{f}, buffer, int(n)), s, c)
	return nil
}

// useDisk writes and verifies in turn, from one goroutine: a write that takes
// long delays what is verified, never what is published.
func useDisk(blocks *protection.Blocks, s protection.Settings, c *counters) {
	written, corrupt, err := blocks.Begin()
	c.diskWritten.Add(uint64(written))
	c.diskFound(corrupt, err)
	length := time.Duration(s.VerifyPassMs) * time.Millisecond
	perSlice := max(1, blocks.Len()*int(slice)/int(length))
	next, at, owed, last := 0, 0, 0.0, time.Now()
	for {
		time.Sleep(slice)
		now := time.Now()
		owed = min(owed+now.Sub(last).Seconds()*float64(s.DiskWritesPerS), float64(s.DiskWritesPerS)/10+1)
		for last = now; owed >= 1; owed-- {
			err := blocks.Write(next)
			c.diskFound(0, err)
			c.diskWritten.Add(1)
			next = (next + 1) % blocks.Len()
		}
		for done := 0; done < perSlice; {
			n, corrupt, err := blocks.Verify(at)
			c.diskFound(corrupt, err)
			done += max(n, 1)
			if at += max(n, 1); at >= blocks.Len() {
				at = 0
				c.diskPasses.Add(1)
			}
		}
	}
}

// diskFound counts what is wrong. An I/O error is as bad as a block that is
// lost: QEMU reports one only when the host could not keep its promise.
func (c *counters) diskFound(corrupt int, err error) {
	if err != nil {
		corrupt++
		fmt.Println("protguest: DISK:", err)
	}
	if corrupt > 0 {
		c.diskCorrupt.Add(uint64(corrupt))
		fmt.Printf("protguest: CORRUPT disk, %d blocks\n", corrupt)
	}
}
