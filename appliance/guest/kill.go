package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Kill ends every copy of the guest with an epoch up to upTo, and returns when
// they are gone. What QEMU said last is returned for the log.
func (r *Runner) Kill(ctx context.Context, guest string, upTo uint64) (said string, err error) {
	copies, err := r.Find()
	if err != nil {
		return "", err
	}
	for _, c := range copies {
		if c.Guest != guest || c.Epoch > upTo {
			continue
		}
		if err := r.end(ctx, c); err != nil {
			return said, fmt.Errorf("kill guest %s, process %d: %w", guest, c.PID, err)
		}
	}
	return r.sweep(guest, upTo)
}

// end kills one process and waits. The descriptor is opened before the second
// look, so that what was looked at and what is killed are the same process.
func (r *Runner) end(ctx context.Context, c Copy) error {
	fd, err := unix.PidfdOpen(c.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if again, ok := r.copyOf(c.PID); !ok || again.Epoch != c.Epoch || again.Guest != c.Guest {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		if n, err := unix.Poll(poll, int((50 * time.Millisecond).Milliseconds())); err == nil && n > 0 {
			return nil
		}
	}
	return fmt.Errorf("it does not die: %w", ctx.Err())
}

// sweep removes the directories of dead copies.
func (r *Runner) sweep(guest string, upTo uint64) (last string, err error) {
	entries, err := os.ReadDir(r.root())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("remove what is left of guest %s: %w", guest, err)
	}
	for _, e := range entries {
		name, epoch, ok := parseDir(e.Name())
		if !ok || name != guest || epoch > upTo {
			continue
		}
		dir := r.dir(name, epoch)
		last = said(dir)
		if err := os.RemoveAll(dir); err != nil {
			return last, fmt.Errorf("remove what is left of guest %s: %w", guest, err)
		}
	}
	return last, nil
}
