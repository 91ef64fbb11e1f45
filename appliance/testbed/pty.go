package testbed

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Terminal is an operator's end of a host's serial port.
type Terminal struct {
	*os.File
	device string   // the host's end
	held   *os.File // it, open: a port exists whether or not a daemon uses it
}

// newTerminal makes a pair of pseudo terminals.
func newTerminal() (*Terminal, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make a serial port: %w", err)
	}
	number, err := unlock(master)
	if err != nil {
		master.Close()
		return nil, fmt.Errorf("make a serial port: %w", err)
	}
	device := fmt.Sprintf("/dev/pts/%d", number)
	held, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return nil, fmt.Errorf("make a serial port: %w", err)
	}
	return &Terminal{File: master, device: device, held: held}, nil
}

// Close unplugs both ends.
func (t *Terminal) Close() error { return errors.Join(t.held.Close(), t.File.Close()) }

func unlock(master *os.File) (number uint32, err error) {
	raw, err := master.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetUint32(int(fd), unix.TIOCGPTN)
		}
	})
	if cerr != nil {
		return 0, cerr
	}
	return number, err
}
