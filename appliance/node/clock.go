package node

import (
	"time"

	"golang.org/x/sys/unix"
)

// now is the time since boot, suspended time included: a lease must not be
// stretched by a host that slept.
func now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		// CLOCK_BOOTTIME exists since Linux 2.6.39; there is no other cause.
		panic("clock_gettime(CLOCK_BOOTTIME): " + err.Error())
	}
	return time.Duration(ts.Nano())
}
