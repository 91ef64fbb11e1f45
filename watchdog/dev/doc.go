// Package dev is the watchdog as a device: Linux's /dev/watchdog
// (Documentation/watchdog/watchdog-api.rst), or the power strip of the test
// bed.
//
// # Who keeps the device open
//
// Linux pets on more than an order to pet. open(2) starts the countdown anew,
// and close(2) without "magic close" pets once more; a driver without magic
// close and without nowayout even stops the countdown on close
// (drivers/watchdog/watchdog_dev.c, watchdog_open and watchdog_release). So a
// daemon that opened the device itself and crashed over and over would keep a
// host alive that has lost the right to run its guests. Therefore the device is
// opened once per boot, and a process of its own, the holder, keeps the open
// file description:
//
//	          first descriptor asked for           Pet
//	(no file) ---------------------------> armed -------> armed, petted
//	    ^            opened: the one pet     |  ^            |
//	    |            that is not an order    |  +------------+ a daemon dies: nothing happens,
//	    |                                    |                 the countdown goes on
//	    |                                    |
//	    |                                    +-- no pet for the timeout --> reset
//	    |                                    |
//	    +--- refused driver, no guest -------+-- Disarm (a verb of its own, never while
//	         here: stopped and closed               guests run) --> stopped, until it is
//	                                                asked for again
//
// The daemon asks the holder for a descriptor (SCM_RIGHTS over a unix socket)
// when it carries out its first order to pet, or when no guest runs on its
// host: a daemon without the right to run guests never causes the device to be
// opened. The holder never pets by itself, and looks at the clock right before
// what does: opening, and setting another timeout.
//
// What is left: when the holder and the daemon are killed at the same moment,
// the close pets once, with nobody's right. The host is reset one timeout after
// that, and no later, since the next daemon opens nothing before it has a lease.
package dev
