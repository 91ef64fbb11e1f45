// Package goose encodes, decodes, publishes and subscribes to GOOSE (IEC
// 61850-8-1). It is pure: frames are values and time is passed in; sockets are
// in iec61850/ether.
//
// A publisher repeats its newest state for ever: at once on a change, then at
// intervals that double from T1 up to T0. Each frame carries how long it may be
// believed (timeAllowedToLive); a subscriber that hears nothing for that long
// has lost the stream.
//
//	stNum  counts changes of state     1, 2, 3, …  (never 0 again)
//	sqNum  counts repetitions of one   0, 1, 2, …
package goose

// EtherType of GOOSE.
const EtherType = 0x88b8
