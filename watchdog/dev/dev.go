// Package dev is the watchdog as a device: Linux's /dev/watchdog
// (Documentation/watchdog/watchdog-api.rst), or the power strip of the test
// bed.
//
// Opening arms it. Close leaves it armed, on purpose: a daemon that dies must
// be followed by a reset unless its successor pets in time. Disarm is a verb of
// its own.
package dev

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Device is an armed watchdog.
type Device interface {
	Pet() error
	// Close lets go of the device, and leaves it armed.
	Close() error
}

// Watchdog is a Linux watchdog device.
type Watchdog struct{ file *os.File }

// Open arms the device with a timeout, in whole seconds (rounded up: firing
// early would reset a healthy host; the caller's waiting period must count
// what Timeout returns).
func Open(path string, timeout time.Duration) (*Watchdog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("arm watchdog %s: %w (is its driver loaded, and no other daemon petting it?)", path, err)
	}
	w := &Watchdog{f}
	seconds := int((timeout + time.Second - 1) / time.Second)
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.WDIOC_SETTIMEOUT, seconds); err != nil && !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, errors.Join(fmt.Errorf("arm watchdog %s: set its timeout to %d s: %w", path, seconds, err), w.Close())
	}
	return w, nil
}

// Timeout that the driver really uses.
func (w *Watchdog) Timeout() (time.Duration, error) {
	seconds, err := unix.IoctlGetInt(int(w.file.Fd()), unix.WDIOC_GETTIMEOUT)
	if err != nil {
		return 0, fmt.Errorf("read the watchdog's timeout: %w", err)
	}
	return time.Duration(seconds) * time.Second, nil
}

// Pet restarts the countdown.
func (w *Watchdog) Pet() error {
	if _, err := unix.IoctlGetInt(int(w.file.Fd()), unix.WDIOC_KEEPALIVE); err != nil {
		return fmt.Errorf("pet the watchdog: %w", err)
	}
	return nil
}

// Close leaves the watchdog armed: no "magic close" is written.
func (w *Watchdog) Close() error { return w.file.Close() }

// Disarm stops the countdown for good ("magic close"). A driver with "nowayout"
// stays armed. Ask watchdog.MayDisarm first.
func (w *Watchdog) Disarm() error {
	if _, err := w.file.WriteString("V"); err != nil {
		return fmt.Errorf("disarm the watchdog: %w", err)
	}
	return w.file.Close()
}

// PowerStrip is the outlet of the test bed that feeds this host: it is switched
// off when it is not petted.
type PowerStrip struct {
	conn    net.Conn
	answers *bufio.Reader
	timeout time.Duration
}

// OpenPowerStrip connects to the outlet's socket. The first Pet arms it.
func OpenPowerStrip(path string, timeout time.Duration) (*PowerStrip, error) {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil, fmt.Errorf("connect to the power strip: %w", err)
	}
	return &PowerStrip{c, bufio.NewReader(c), timeout}, nil
}

// Pet restarts the countdown.
func (p *PowerStrip) Pet() error {
	if err := p.conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("pet the power strip: %w", err)
	}
	if _, err := fmt.Fprintf(p.conn, "pet %d\n", p.timeout.Milliseconds()); err != nil {
		return fmt.Errorf("pet the power strip: %w", err)
	}
	line, err := p.answers.ReadString('\n')
	if err != nil || line != "ok\n" {
		return fmt.Errorf("pet the power strip: it answers %q: %w", line, err)
	}
	return nil
}

// Close leaves the outlet armed.
func (p *PowerStrip) Close() error { return p.conn.Close() }
