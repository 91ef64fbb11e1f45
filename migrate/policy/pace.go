package policy

import "time"

// How passes are read, and how a stop comes about: what the gateway does and
// package replay models.
const (
	// AskPatience is for the daemon's usual answer, which takes milliseconds; no
	// pass is read meanwhile.
	AskPatience = 20 * time.Millisecond
	// StopAllowance is the time from a decision to the stop, in which the guest
	// writes on: the daemon's usual answer and QEMU's.
	StopAllowance = 10 * time.Millisecond

	// ReadAheadAfter the move's begin a policy that reads ahead does so: what is
	// through by then gains nothing by it, and loses the CPU time that it takes.
	ReadAheadAfter = 300 * time.Millisecond

	shortestPass = 50 * time.Millisecond
	passShare    = 5 // of the time may go into passes: one part of so many
)

// PassInterval from the start of a pass that took so long to the start of the
// next one. An idle guest's passes take 2 ms: to look more often costs it little
// and ends the move sooner. A busy one's, or those that the link holds up, keep
// the set pace, longest.
func PassInterval(longest, took time.Duration) time.Duration {
	return min(longest, max(shortestPass, passShare*took))
}
