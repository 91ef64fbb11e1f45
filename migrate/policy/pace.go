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

	// QuietPass is what a pass takes at most that brings about 1000 pages: a guest that
	// writes no more may be looked at again as soon as all is at the destination. What
	// a busy one writes would be sent once more than needed.
	QuietPass = 4 * time.Millisecond

	// See InOrder.
	inOrderAtLeast = 150 * time.Millisecond
	inOrderAtMost  = time.Second

	shortestPass = 50 * time.Millisecond
	passShare    = 2 // of the time may go into passes: one part of so many
)

// PassInterval from the start of a pass that took so long to the start of the
// next one. An idle guest's passes take 2 ms: to look more often costs it little
// and ends the move sooner. Those that the link holds up keep the set pace, longest.
// Of a guest that writes all the time a pass takes the longer the longer ago the one
// before was: to look half as often saves it nothing, and what it wrote since the last
// look is what is unsent when it is stopped. A hot set of 48 MiB that is rewritten in
// half a second was stopped for 158 ms with a fifth of the time for passes, for 61 ms
// with half of it.
func PassInterval(longest, took time.Duration) time.Duration {
	return min(longest, max(shortestPass, passShare*took))
}

// InOrder tells whether the first pass is read in order, at the link's pace, since
// its begin: at first, and as long as it is on its way to be over within a second,
// by how many of all the guest's pages it has brought, or the link has not been what
// holds it up for long (linkBusy): at 1 Gbit/s bursts take a tenth of a second. Reading
// ahead saves the link what is written again meanwhile, and takes CPU time: a short
// pass, or one that is short of that, loses by it. What was read ahead once is not in
// order again.
func InOrder(since time.Duration, brought, all int, linkBusy time.Duration) bool {
	if linkBusy < inOrderAtLeast || brought >= all {
		return true
	}
	return since <= inOrderAtMost && since*time.Duration(all) <= inOrderAtMost*time.Duration(brought)
}
