package testbed

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// InNetwork calls f in the host's network namespace, for a program that plays a
// host without its daemon: what f starts, listens on or dials belongs to that
// network, and to this process in everything else. f must not leave that work
// to other goroutines.
func (h *Host) InNetwork(f func() error) error {
	theirs, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", h.pid()))
	if err != nil {
		return fmt.Errorf("enter the network of %s (is it on?): %w", h.Name, err)
	}
	defer theirs.Close()
	runtime.LockOSThread()
	ours, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network of %s: %w", h.Name, err)
	}
	defer ours.Close()
	if err := unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network of %s: %w", h.Name, err)
	}
	ended := f()
	if err := unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET); err != nil {
		// Still locked: no other goroutine finds itself in that network. Letting
		// the thread end instead would kill the hosts that it has started, which
		// have a Pdeathsig.
		return errors.Join(ended, fmt.Errorf("leave the network of %s: %w", h.Name, err))
	}
	runtime.UnlockOSThread()
	return ended
}
