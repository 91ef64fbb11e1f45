package gateway

import (
	"fmt"
	"time"
)

// The budget is what the guest's listeners have. A guest that runs at its destination
// is not heard at once, and then it is too late for a roll-back: what it took there
// before (policy.Waking, DestinationConfig.WakingMs) is kept of the budget, beside the
// margin. A source that continues its own guest has both, and needs little of it.

// MaxWakingMs that is believed: as long as the longest budget of a site file.
const MaxWakingMs = 600_000

// noRoom is the refusal of HeardInTime.
type noRoom struct{ error }

// keepWaking of the budget: what the destination says, or the source's own where the
// destination says nothing (as an earlier release does).
func (s *source) keepWaking(said int) error {
	if said > 0 {
		s.cfg.WakingMs = said
	}
	s.result.WakingMs = s.cfg.WakingMs
	return HeardInTime(s.cfg.Peer, s.cfg.BudgetMs, s.cfg.MarginMs, s.cfg.WakingMs)
}

// HeardInTime refuses a move whose guest could not be heard at the host within its budget,
// if its stop took no time. All are in ms.
func HeardInTime(host string, budget, margin, waking int) error {
	if budget > margin+waking {
		return nil
	}
	return noRoom{fmt.Errorf("the guest is heard %d ms after it runs at host %s: with a margin of %d ms that leaves nothing of the budget of %d ms; needs a budget of more than %d ms",
		waking, host, margin, budget, margin+waking)}
}

// stopLimit is how long the guest may be stopped until COMMIT.
func (s *source) stopLimit() time.Duration {
	return time.Duration(s.cfg.BudgetMs-s.cfg.MarginMs-s.cfg.WakingMs) * time.Millisecond
}

// stopLimitText says it, for whoever missed it.
func (s *source) stopLimitText() string {
	text := fmt.Sprintf("the budget of %d ms less the margin of %d ms", s.cfg.BudgetMs, s.cfg.MarginMs)
	if s.cfg.WakingMs > 0 {
		text += fmt.Sprintf(" and %d ms until the guest is heard", s.cfg.WakingMs)
	}
	return text
}
