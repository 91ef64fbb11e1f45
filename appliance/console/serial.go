package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strconv"
	"syscall"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"bumpless/appliance/api"
)

// An absent or unplugged device is tried again after reopenMin, doubling up to
// reopenMax.
const (
	reopenMin = 500 * time.Millisecond
	reopenMax = 5 * time.Second
	// readWait: how often a reader looks whether it is to end.
	readWait = 500 * time.Millisecond
)

// Serve is the console on a serial device, until ctx ends. It survives a device
// that is absent, or goes away and comes back.
func Serve(ctx context.Context, device string, baud int, id Identity, backend api.Backend, log *slog.Logger) {
	backend = api.As(backend, api.Caller{Name: "console@" + id.Host, Role: id.Role}, log)
	wait, told := reopenMin, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := serveDevice(ctx, device, baud, id, backend)
		if ctx.Err() != nil {
			return
		}
		// The same trouble is logged once, not every few seconds for years.
		if err.Error() != told {
			told = err.Error()
			log.Warn("serial console", "device", device, "error", err)
		}
		if time.Since(began) > reopenMax {
			wait, told = reopenMin, ""
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, reopenMax)
	}
}

func serveDevice(ctx context.Context, device string, baud int, id Identity, backend api.Backend) error {
	port, err := openSerial(device, baud)
	if err != nil {
		return fmt.Errorf("open %s: %w", device, err)
	}
	defer port.Close()
	if err := serveSession(ctx, port, id, backend); err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	return nil
}

// openSerial opens a device with 8 data bits, no parity, 1 stop bit, and no
// modem lines: a console cable has three wires, and a pty has none
// (go.bug.st/serial touches them only for Mode.InitialStatusBits).
func openSerial(device string, baud int) (serial.Port, error) {
	// The library opens without O_CLOEXEC: no process may be started between
	// the opening and the marking.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	port, err := serial.Open(device, &serial.Mode{BaudRate: baud, DataBits: 8, Parity: serial.NoParity, StopBits: serial.OneStopBit})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(keepFromChildren(), share(device), port.SetReadTimeout(readWait)); err != nil {
		port.Close()
		return nil, err
	}
	return port, nil
}

// keepFromChildren marks every open file but the standard three: a guest that
// inherited the port would keep it open after the daemon's end. The files of
// the Go runtime are marked already.
func keepFromChildren() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("keep the port from child processes: %w", err)
	}
	return nil
}

// share undoes the library's TIOCEXCL. The flag stays with a pty after a
// process that died holding it, and would keep the next daemon out of its own
// console where it has no CAP_SYS_ADMIN (measured: EBUSY). It keeps nobody else
// out: whoever may open the device is root.
func share(device string) error {
	var want unix.Stat_t
	if err := unix.Stat(device, &want); err != nil {
		return fmt.Errorf("find %s: %w", device, err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("find %s among the open files: %w", device, err)
	}
	for _, f := range open {
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			continue
		}
		var is unix.Stat_t
		if unix.Fstat(fd, &is) == nil && is.Rdev == want.Rdev && is.Mode&unix.S_IFMT == unix.S_IFCHR {
			_ = unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) // no tty: nothing to share
		}
	}
	return nil
}
