package testbed

import (
	"testing"

	"bumpless/migrate/gateway"
)

// over moves the guest over these LANs, a connection in each, and returns how
// that ended and the phases that it went through. during is called at the first
// pass.
func (r *serviceRig) over(lans []string, during func()) (result *gateway.Result, stopped bool) {
	r.t.Helper()
	m := r.begin(func(s *gateway.SourceConfig, d *gateway.DestinationConfig) {
		d.Listen = nil
		for _, lan := range lans {
			d.Listen = append(d.Listen, Address(r.bed.Host(other(r.at)).Number, lan)+":0")
			s.LANs = append(s.LANs, gateway.LAN{CapacityMbitPerS: serviceLink, ReserveMbitPerS: serviceReserve})
		}
		s.Policy = "precopy" // the link is all that it waits for
	})
	m.source.until("its end", func(e gateway.Event) bool {
		stopped = stopped || e.Phase == gateway.Stopped
		if e.Phase == gateway.Streaming && e.Pass == nil && during != nil {
			during()
		}
		return false
	})
	m.destination.say("abort") // as its daemon would, of a move that failed while it was connecting
	result, _ = m.settle()
	if result == nil {
		r.t.Fatal("the source's gateway ended without a word")
	}
	r.t.Logf("over %v: stopped: %v, %+v", lans, stopped, *result)
	m.runsOnlyOn(r.at)
	return result, stopped
}

// moves tries again what was rolled back: the machine is shared.
func (r *serviceRig) moves(lans ...string) *gateway.Result {
	r.t.Helper()
	for range 3 {
		if result, _ := r.over(lans, nil); result.Outcome == gateway.Moved {
			return result
		}
	}
	r.t.Fatalf("over %v: three moves did not come through", lans)
	return nil
}

func TestE2EAMoveOverTwoLANsTakesHalfTheTime(t *testing.T) {
	r := newServiceRig(t)
	r.boot()
	one, both := r.moves(LANA), r.moves(LANA, LANB)
	t.Logf("one LAN of %d Mbit/s: %.2f s, %d bytes; two: %.2f s, %d bytes", serviceLink, one.TotalS, one.LinkBytes, both.TotalS, both.LinkBytes)
	if both.TotalS > 0.75*one.TotalS {
		t.Errorf("over two LANs the move took %.2f s, over one %.2f s; want three quarters of it at most", both.TotalS, one.TotalS)
	}
}

// Of two LANs one falls silent, without a lost carrier, while memory is being
// sent. The other one would soon have sent all but a few pages.
func TestE2EALANThatDiesDoesNotStopTheGuest(t *testing.T) {
	r := newServiceRig(t)
	r.boot()
	from := r.at
	result, stopped := r.over([]string{LANA, LANB}, func() {
		must(t, r.bed.Stall(dstHost, LANB))
	})
	if result.Outcome != gateway.Failed || stopped || r.at != from || !result.LinkBroke {
		t.Fatalf("stopped: %v, %+v; want it failed by the link, and the guest never stopped", stopped, *result)
	}
	if result.TotalS > 15 { // it is 20 s where nobody looks
		t.Errorf("it ended after %.1f s; a dead LAN beside a live one is noticed within some 3", result.TotalS)
	}
	// What is ordered next goes over the LAN that is left.
	if r.moves(LANA, LANB); r.at == from {
		t.Error("the guest is still where it was")
	}
}
