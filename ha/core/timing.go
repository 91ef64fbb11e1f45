package core

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Timing holds the times that the safety of a takeover rests on. All of them
// come from the site file and must be equal on all hosts.
type Timing struct {
	// Lease is how long a host may run guests after the moment at which it
	// asked for a lease. Shorter: quicker takeover; longer: a longer loss of
	// the leader is ridden out without a guest being killed.
	Lease time.Duration
	// LeaderLease is how long a leader that lost its quorum may still believe
	// that it leads. Grants are confirmed by a quorum one by one, so that it
	// is a reserve and not a need.
	LeaderLease time.Duration
	// DriftPPM bounds how wrong a host's clock runs, in parts per million; two
	// hosts' clocks run apart by twice that.
	DriftPPM int
	// WatchdogTimeout is the time from the last pet to the reset of the host.
	WatchdogTimeout time.Duration
	// ResetTime is the time from the watchdog's expiry until the host's CPUs
	// have really stopped.
	ResetTime time.Duration
	// PetInterval is the longest time between two pets.
	PetInterval time.Duration
	// PrepareTimeout bounds how long the destination of a move may take to get ready.
	PrepareTimeout time.Duration
	// RetryMin and RetryMax bound the back-off of automatic repetitions.
	RetryMin, RetryMax time.Duration
}

// DefaultTiming suits servers with a hardware watchdog of 1 s resolution.
func DefaultTiming() Timing {
	return Timing{
		Lease: 3 * time.Second, LeaderLease: time.Second, DriftPPM: 500,
		WatchdogTimeout: 4 * time.Second, ResetTime: 2 * time.Second, PetInterval: 500 * time.Millisecond,
		PrepareTimeout: 30 * time.Second, RetryMin: 5 * time.Second, RetryMax: 5 * time.Minute,
	}
}

// WaitingPeriod is how long the leader waits, from the later of its last grant
// to a silent host and its own election, before it takes the host's copies for
// dead. The lease may have been asked for at the very moment of the grant; the
// last pet may have come at the very end of the lease.
func (t Timing) WaitingPeriod() time.Duration { return t.undrifted() + t.drift() }

func (t Timing) undrifted() time.Duration {
	return t.Lease + t.LeaderLease + t.WatchdogTimeout + t.ResetTime
}

// drift covers a slow clock at the silent host and a fast one at the leader:
// undrifted x (1+p)/(1-p), rounded up.
func (t Timing) drift() time.Duration {
	part, whole := t.undrifted()*time.Duration(2*t.DriftPPM), time.Duration(1e6-t.DriftPPM)
	return (part + whole - 1) / whole
}

// AskInterval is the time between two requests for a lease, when they are
// answered: two may be lost before the lease runs out.
func (t Timing) AskInterval() time.Duration { return t.Lease / 3 }

// ExplainWaitingPeriod says in one line what the waiting period consists of,
// for printing at start-up.
func (t Timing) ExplainWaitingPeriod() string {
	return fmt.Sprintf("waiting period %v = lease %v + leader lease %v + watchdog %v + reset %v + drift %v (2 x %d ppm): "+
		"a guest of a host that fell silent is started elsewhere after that, or at once on proof",
		t.WaitingPeriod().Round(time.Millisecond), t.Lease, t.LeaderLease, t.WatchdogTimeout, t.ResetTime, t.drift().Round(time.Millisecond), t.DriftPPM)
}

// Validate checks the inequalities that the waiting period relies on. The
// error lists every one that does not hold.
func (t Timing) Validate() error {
	var bad []string
	must := func(ok bool, format string, args ...any) {
		if !ok {
			bad = append(bad, fmt.Sprintf(format, args...))
		}
	}
	must(t.Lease > 0 && t.PetInterval > 0 && t.WatchdogTimeout > 0, "lease, petting interval and watchdog timeout must be above 0")
	must(t.LeaderLease >= 0 && t.ResetTime >= 0 && t.PrepareTimeout >= 0, "no time may be negative")
	must(t.Lease >= 4*t.PetInterval, "lease %v must be at least four petting intervals of %v: requests go out on the same tick, and two of them may be lost", t.Lease, t.PetInterval)
	must(t.WatchdogTimeout >= 2*t.PetInterval, "watchdog timeout %v must be at least two petting intervals of %v, or a late tick resets the host", t.WatchdogTimeout, t.PetInterval)
	must(t.DriftPPM >= 0 && t.DriftPPM <= 100_000, "clock drift %d ppm must be within 0 to 100000", t.DriftPPM)
	must(t.RetryMin > 0 && t.RetryMax >= t.RetryMin, "back-off %v to %v must be above 0 and ascending", t.RetryMin, t.RetryMax)
	must(t.undrifted() < time.Hour, "the waiting period must be below one hour")
	if len(bad) == 0 {
		return nil
	}
	return errors.New("timing: " + strings.Join(bad, "; ") + ": correct the site file's timing section on every host")
}

// backOff is the pause before repetition number tries (from 1).
func (t Timing) backOff(tries int) time.Duration {
	d := t.RetryMin
	for i := 1; i < tries && d < t.RetryMax; i++ {
		d *= 2
	}
	return min(d, t.RetryMax)
}
