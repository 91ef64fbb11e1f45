package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// moveDir is the run directory of one move on this host:
//
//	source.pid, destination.pid   the gateway, while it lives
//	source.log, destination.log   what it said on standard error
//	committed                     the source gave up the right to run (migrate/gateway)
type moveDir string

func (n *Node) moveDir(id string) moveDir {
	return moveDir(filepath.Join(n.site.RunDir, "moves", id))
}

func (d moveDir) create() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("create the run directory of a move: %w", err)
	}
	return nil
}

// committed tells whether the source sent, or was about to send, COMMIT. When
// the marker cannot be looked for the answer is yes: not to resume is safe.
func (d moveDir) committed(marker string) bool {
	_, err := os.Lstat(filepath.Join(string(d), marker))
	return !errors.Is(err, fs.ErrNotExist)
}

// endStray ends a gateway that an earlier daemon left behind, and returns when
// its process is gone.
func (d moveDir) endStray(ctx context.Context, role string) error {
	text, err := os.ReadFile(filepath.Join(string(d), role+".pid"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s/%s.pid: %q is not a process id", d, role, text)
	}
	return endGateway(ctx, pid)
}

// endGateway kills the process if it is a gateway of ours (a process id may
// have been given to another program since) and waits until it is gone. The
// pidfd is opened before the look, so that looked-at and killed are the same.
func endGateway(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("end gateway %d: %w", pid, err)
	}
	defer unix.Close(fd)
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(command), "\x00gateway\x00") {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end gateway %d: %w", pid, err)
	}
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		if n, err := unix.Poll(poll, int((100 * time.Millisecond).Milliseconds())); err == nil && n > 0 {
			return nil
		}
	}
	return fmt.Errorf("end gateway %d: it does not die: %w", pid, ctx.Err())
}
