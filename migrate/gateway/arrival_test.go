package gateway

import (
	"context"
	"testing"
	"time"
)

// A gateway that has COMMIT, and ends before the guest runs, has said that the source
// has given it up: nobody else need be heard.
func TestAGuestRunsInPlaceOfAGatewayThatHadCOMMIT(t *testing.T) {
	for name, said := range map[string][]Phase{"loaded": {AtReady}, "committed": {AtReady, Committed}} {
		a := NewArrival()
		for _, p := range said {
			a.Saw(Event{Phase: p})
		}
		began := time.Now()
		runs, why := a.End(context.Background(), false, func() error { return nil })
		if want := name == "committed"; runs != want || want == (time.Since(began) >= commitWait) {
			t.Errorf("%s: End() = %v, %q after %v; want %v, at once if it runs", name, runs, why, time.Since(began), want)
		}
	}
}
