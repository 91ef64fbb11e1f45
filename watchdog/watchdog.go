// Package watchdog decides, from what is known at one moment, whether a host's
// watchdog is petted. It is pure.
//
//	            first pet                    no pet for the timeout
//	(disarmed) -----------> armed, petted ---------------------------> reset
//	     ^                       |
//	     +--- disarm: a verb of its own, refused while guests run
//
// The watchdog is the fence of last resort: a host that may not run guests and
// cannot get rid of them must be reset. So it is petted only on an order that
// is still valid, that is fresh, and while every part of the daemon that could
// hang has said lately that it lives. Leaving the process leaves it armed.
package watchdog

import (
	"fmt"
	"slices"
	"time"
)

// Order is the newest word of whoever holds the host's right to run guests.
type Order struct {
	Pet bool
	// NotAfter: the right ends then; 0: no limit. On the clock of now, as At.
	NotAfter time.Duration
	Why      string        // of withholding
	At       time.Duration // when it was given
}

// Policy says how fresh things must be.
type Policy struct {
	// OrderAge is the oldest order that counts: a loop that hangs gives none.
	OrderAge time.Duration
	// BeatAge is, for each part of the daemon, the longest time without a sign
	// of life.
	BeatAge map[string]time.Duration
}

// Decision to pet, or why not.
type Decision struct {
	Pet bool
	Why string
}

// Decide at now, with the newest order and each part's last sign of life.
func (p Policy) Decide(now time.Duration, o Order, beats map[string]time.Duration) Decision {
	switch {
	case !o.Pet:
		return Decision{Why: o.Why}
	case o.NotAfter != 0 && now > o.NotAfter:
		return Decision{Why: "the right to run guests has ended"}
	case now-o.At > p.OrderAge:
		return Decision{Why: fmt.Sprintf("no decision for %v: the daemon's loop hangs", now-o.At)}
	}
	var parts []string
	for part := range p.BeatAge {
		parts = append(parts, part)
	}
	slices.Sort(parts) // of several dead parts always the same one is named
	for _, part := range parts {
		if age := now - beats[part]; age > p.BeatAge[part] {
			return Decision{Why: fmt.Sprintf("no sign of life of %s for %v", part, age)}
		}
	}
	return Decision{Pet: true}
}

// MayDisarm says whether the watchdog may be disarmed: never while a guest
// runs here, or might.
func MayDisarm(copies int) error {
	if copies > 0 {
		return fmt.Errorf("disarm the watchdog: refused while %d guests run here: drain this host first", copies)
	}
	return nil
}
