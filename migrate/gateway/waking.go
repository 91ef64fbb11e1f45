package gateway

import (
	"fmt"
	"time"
)

// The budget is what the guest's listeners have. A guest that runs at its destination
// is not heard at once, and then it is too late for a roll-back: what it took there
// before (policy.Waking, DestinationConfig.WakingMs) is kept of the budget, beside the
// margin. A source that continues its own guest has both, and needs little of it.

// maxWakingMs that a peer may say: as long as the longest budget of a site file.
const maxWakingMs = 600_000

// noRoom refuses a move whose guest could not be heard in time if its stop took none.
type noRoom struct{ error }

// keepWaking of the budget: what the destination says, or the source's own where the
// destination says nothing (as an earlier release does).
func (s *source) keepWaking(said int) error {
	if said > 0 {
		s.cfg.WakingMs = said
	}
	c := s.cfg
	if s.stopLimit() <= 0 {
		return noRoom{fmt.Errorf("the guest is heard %d ms after it runs at host %s: with a margin of %d ms that leaves nothing of the budget of %d ms; needs a budget of more than %d ms",
			c.WakingMs, c.Peer, c.MarginMs, c.BudgetMs, c.MarginMs+c.WakingMs)}
	}
	s.result.WakingMs = c.WakingMs
	return nil
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
