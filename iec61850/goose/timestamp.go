package goose

import (
	"encoding/binary"
	"time"
)

// Timestamp is UtcTime (IEC 61850-8-1, 8.1.3.6): seconds, a binary fraction of
// 24 bits, and a quality byte.
type Timestamp struct {
	Seconds  uint32 // since 1970-01-01 UTC
	Fraction uint32 // in units of 2^-24 s
	Quality  byte   // leap known, clock failure, not synchronised, accuracy
}

// Quality bits (IEC 61850-7-2, TimeQuality). The low five bits say how many
// bits of the fraction are accurate; 31 is "unspecified".
const (
	LeapSecondsKnown     = 0x80
	ClockFailure         = 0x40
	ClockNotSynchronised = 0x20
	AccuracyUnspecified  = 0x1f
)

// At makes a timestamp of a wall-clock time.
func At(t time.Time, quality byte) Timestamp {
	fraction := uint64(t.Nanosecond()) << 24 / uint64(time.Second)
	return Timestamp{Seconds: uint32(t.Unix()), Fraction: uint32(fraction), Quality: quality}
}

// Time returns the time, to the 60 ns that the fraction resolves.
func (t Timestamp) Time() time.Time {
	// Rounded up: the fraction of a whole nanosecond was rounded down.
	ns := (uint64(t.Fraction)*uint64(time.Second) + 1<<24 - 1) >> 24
	return time.Unix(int64(t.Seconds), int64(ns)).UTC()
}

func (t Timestamp) encode() [8]byte {
	var b [8]byte
	binary.BigEndian.PutUint32(b[:], t.Seconds)
	b[4], b[5], b[6], b[7] = byte(t.Fraction>>16), byte(t.Fraction>>8), byte(t.Fraction), t.Quality
	return b
}

func decodeTimestamp(b [8]byte) Timestamp {
	return Timestamp{
		Seconds:  binary.BigEndian.Uint32(b[:]),
		Fraction: uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6]),
		Quality:  b[7],
	}
}
