package gateway

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// pipeBuffer is the buffer between QEMU and us. Larger is faster; what is in it
// is read in the stop phase, at memory speed.
const pipeBuffer = 208 << 10

func newSocketPair() (ours, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, fd := range fds {
		// The kernel may grant less; that costs speed only.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, pipeBuffer)
	}
	return os.NewFile(uintptr(fds[0]), "migration"), os.NewFile(uintptr(fds[1]), "migration-qemu"), nil
}

// inPipe is how many bytes QEMU has written that we have not read, and untaken how
// many we have that it has not (unix(7); with what the kernel takes to keep them). An
// error makes it none: then less is taken for old, or for under way.
func inPipe(pipe *net.UnixConn) int64  { return queued(pipe, unix.TIOCINQ) }
func untaken(pipe *net.UnixConn) int64 { return queued(pipe, unix.TIOCOUTQ) }

func queued(pipe *net.UnixConn, request uint) int64 {
	if pipe == nil {
		return 0
	}
	raw, err := pipe.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	if err := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), request) }); err != nil {
		return 0
	}
	return int64(n)
}

// socketPair returns our end, and the file to give to QEMU.
func socketPair() (*net.UnixConn, *os.File, error) {
	ours, theirs, err := newSocketPair()
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair for QEMU: %w", err)
	}
	defer ours.Close()
	c, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make a socket pair for QEMU: %w", err)
	}
	return c.(*net.UnixConn), theirs, nil
}
