package testbed

import (
	"testing"
	"time"

	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/gateway"
	"bumpless/migrate/policy"
)

func TestE2EABusyGuestMovesWithinItsBudget(t *testing.T) {
	if testing.Short() {
		return
	}
	for _, name := range policy.Names() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.boot()
			m := r.begin(func(s *gateway.SourceConfig, _ *gateway.DestinationConfig) { s.Policy = name })
			result := m.source.result()
			if result == nil || result.Outcome != gateway.Moved || !result.DigestEqual {
				t.Fatalf("result = %+v; want moved, digests equal", result)
			}
			m.runsOnlyOn(dstHost)
			t.Logf("%+v; blackout %v", *result, m.blackout())
			if b := m.blackout(); b > 300*time.Millisecond {
				t.Errorf("blackout = %v; the budget is 300 ms", b)
			}
		})
	}
}

var _ = protection.PageSize
