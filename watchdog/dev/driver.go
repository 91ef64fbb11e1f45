package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// driver is what the holder asks of an open watchdog. Tests have another one
// than Linux.
type driver interface {
	// options are the WDIOF_ bits of WDIOC_GETSUPPORT.
	options() (uint32, error)
	timeout() (seconds int, err error)
	// setTimeout pets an armed watchdog.
	setTimeout(seconds int) error
	// setOptions takes WDIOS_ bits.
	setOptions(bits int) error
}

// linux is the driver behind a file descriptor.
type linux struct{ fd int }

func (l linux) options() (uint32, error) {
	info, err := unix.IoctlGetWatchdogInfo(l.fd)
	if err != nil {
		return 0, err
	}
	return info.Options, nil
}

func (l linux) timeout() (int, error) { return unix.IoctlGetInt(l.fd, unix.WDIOC_GETTIMEOUT) }

func (l linux) setTimeout(seconds int) error {
	return unix.IoctlSetPointerInt(l.fd, unix.WDIOC_SETTIMEOUT, seconds)
}

func (l linux) setOptions(bits int) error {
	return unix.IoctlSetPointerInt(l.fd, unix.WDIOC_SETOPTIONS, bits)
}

// attributes of a watchdog in sysfs (Documentation/ABI/testing/sysfs-class-watchdog):
// they are read without opening the device.
type attributes struct{ dir string }

// attributesOf finds them under sys ("/sys"). The old name /dev/watchdog is
// the misc device 10:130, and always the first watchdog.
func attributesOf(sys, device string) attributes {
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return attributes{} // opening it will say what is wrong
	}
	major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev)
	if major == 10 && minor == 130 {
		return attributes{filepath.Join(sys, "class/watchdog/watchdog0")}
	}
	return attributes{filepath.Join(sys, fmt.Sprintf("dev/char/%d:%d", major, minor))}
}

// number of an attribute; ok is false where the kernel or driver has none.
func (a attributes) number(name string) (n uint64, ok bool) {
	if a.dir == "" {
		return 0, false
	}
	b, err := os.ReadFile(filepath.Join(a.dir, name))
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseUint(strings.TrimSpace(string(b)), 0, 32) // options has the prefix 0x
	return n, err == nil
}

// staysArmed says why the driver would be disarmed by the end of the process
// that holds it, or nil.
func (a attributes) staysArmed(device string, options uint32) error {
	if options&unix.WDIOF_MAGICCLOSE != 0 {
		return nil
	}
	if on, ok := a.number("nowayout"); ok && on == 1 {
		return nil
	}
	return fmt.Errorf("watchdog %s: its driver stops the countdown when the device is closed, so that a host that has lost its right to run guests would not be reset: "+
		"load the driver with nowayout=1, or write 1 to /sys/class/watchdog/watchdogN/nowayout before the daemon starts", device)
}

// checkUnopened refuses what can be refused without opening the device, which
// would arm it. Kernels before 6.4 have no attribute for it.
func (a attributes) checkUnopened(device string) error {
	options, ok := a.number("options")
	if !ok {
		return nil
	}
	return a.staysArmed(device, uint32(options))
}

// ready makes sure that the open watchdog is armed with that timeout and stays
// so. It pets only when the driver's timeout has to be changed.
func (a attributes) ready(device string, d driver, want time.Duration) error {
	options, err := d.options()
	if err != nil {
		return fmt.Errorf("watchdog %s: ask what its driver can do: %w (is it a watchdog?)", device, err)
	}
	if err := a.staysArmed(device, options); err != nil {
		return err
	}
	if err := setTimeout(device, d, want); err != nil {
		return err
	}
	// After Disarm; otherwise the driver says that it is enabled already.
	err = d.setOptions(unix.WDIOS_ENABLECARD)
	if err != nil && !notThere(err) {
		return fmt.Errorf("arm watchdog %s: %w", device, err)
	}
	return nil
}

// setTimeout in whole seconds, rounded up: firing early would reset a healthy
// host. A driver that uses a longer one than the site's is refused.
func setTimeout(device string, d driver, want time.Duration) error {
	seconds := int((want + time.Second - 1) / time.Second)
	real, err := d.timeout()
	if err != nil {
		return fmt.Errorf("watchdog %s: read its timeout: %w (the waiting period rests on it)", device, err)
	}
	if real != seconds {
		if err := d.setTimeout(seconds); err != nil && !notThere(err) {
			return fmt.Errorf("watchdog %s: set its timeout to %d s: %w", device, seconds, err)
		}
		if real, err = d.timeout(); err != nil {
			return fmt.Errorf("watchdog %s: read its timeout: %w", device, err)
		}
	}
	if got := time.Duration(real) * time.Second; got > want {
		return fmt.Errorf("watchdog %s: the driver uses %v, timing.watchdog_timeout_ms says %v: the waiting period would be too short; raise it to %d on every host",
			device, got, want, got.Milliseconds())
	}
	return nil
}

// notThere: the driver has no such operation.
func notThere(err error) bool {
	return errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP)
}
