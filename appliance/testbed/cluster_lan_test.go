package testbed

import (
	"context"
	"testing"
	"time"

	"bumpless/appliance/api"
)

// A LAN falls silent while memory is being sent, for good. The operator orders one
// move; the host orders it once more, and it goes over the LAN that is left.
func TestE2EAMoveWhoseLANDiesGoesOverTheOtherOneByItself(t *testing.T) {
	c := newTestCluster(t)
	before, _ := c.Observer.Last(c.settings.GocbRef)
	from := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	accepted, err := c.Client(hostA).Move(ctx, api.Caller{}, api.MoveRequest{Guest: guest1, To: hostB})
	must(t, err)
	died := false
	must(t, c.Client(hostA).Progress(ctx, api.ProgressRequest{Move: accepted.Move}, func(p api.Progress) {
		if p.Phase == "stream" && !died {
			died = true
			must(t, c.Bed.Stall(hostB, LANB))
		}
		if p.Outcome != "" {
			t.Logf("%s: %s (%s)", p.Move, p.Outcome, p.Reason)
		}
	}))
	_, err = c.Wait(time.Minute, "the guest to be on the other host", func(s api.Status) bool {
		return len(s.Guests) == 1 && s.Guests[0].Owner == hostB && s.Guests[0].Move == ""
	})
	must(t, err)
	t.Logf("there after %v", time.Since(from))
	if after := c.verified(hostB); after.Report.BootID != before.Report.BootID {
		t.Error("the guest was booted again")
	}
	gap, _ := c.since(from).LargestGap()
	if blackout := gap - c.settings.GoosePeriod; blackout > testBudget {
		t.Errorf("blackout = %v; the budget is %v", blackout, testBudget)
	}
}
