package gateway

import (
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
