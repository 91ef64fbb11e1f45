package dev

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Device is a watchdog that can be petted.
type Device interface {
	Pet() error
	// Close lets go of the device, and leaves it armed.
	Close() error
}

// Watchdog is a descriptor of the armed Linux watchdog that the holder keeps.
type Watchdog struct{ file *os.File }

// Pet restarts the countdown. It writes, since every driver takes that;
// WDIOC_KEEPALIVE is an option. Any byte but 'V' will do.
func (w *Watchdog) Pet() error {
	if _, err := w.file.Write([]byte{0}); err != nil {
		return fmt.Errorf("pet the watchdog: %w", err)
	}
	return nil
}

// Close leaves the watchdog armed and does not pet: the holder's descriptor is
// still open.
func (w *Watchdog) Close() error { return w.file.Close() }

// Disarm stops the countdown until the holder is asked for the device again. A
// driver with nowayout stays armed, which is an error. Ask watchdog.MayDisarm
// first.
func (w *Watchdog) Disarm() error {
	if err := (linux{int(w.file.Fd())}).setOptions(unix.WDIOS_DISABLECARD); err != nil {
		return fmt.Errorf("disarm the watchdog: %w", err)
	}
	return nil
}
