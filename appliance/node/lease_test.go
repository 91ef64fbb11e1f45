package node

import (
	"testing"
	"time"

	"bumpless/ha/core"
	"bumpless/migrate/gateway"
)

func TestALeaseAnswerReachesTheRequestThatItAnswers(t *testing.T) {
	var d leaseDesk
	first, forgetFirst := d.wait("host-a", time.Second)
	defer forgetFirst()
	later, forgetLater := d.wait("host-a", 2*time.Second)
	defer forgetLater()
	other, forgetOther := d.wait("host-b", time.Second)
	defer forgetOther()
	d.answer("host-a", time.Second, leaseAnswer{granted: true, index: 7})
	if a := <-first; !a.granted || a.index != 7 {
		t.Errorf("answer = %+v; want the grant at index 7", a)
	}
	select {
	case a := <-later:
		t.Errorf("a later request of the host got the answer %+v", a)
	case a := <-other:
		t.Errorf("another host's request got the answer %+v", a)
	default:
	}
}

func TestTheFirstAnswerToALeaseRequestStands(t *testing.T) {
	var d leaseDesk
	answer, forget := d.wait("host-a", time.Second)
	defer forget()
	d.answer("host-a", time.Second, leaseAnswer{why: "no quorum"})
	d.answer("host-a", time.Second, leaseAnswer{granted: true}) // must not block either
	if a := <-answer; a.granted || a.why != "no quorum" {
		t.Errorf("answer = %+v; want the refusal that came first", a)
	}
}

func TestAnAnswerToNobodyIsDropped(t *testing.T) {
	var d leaseDesk
	_, forget := d.wait("host-a", time.Second)
	forget()
	d.answer("host-a", time.Second, leaseAnswer{granted: true})
	if len(d.waiting) != 0 {
		t.Errorf("%d requests are kept; want none", len(d.waiting))
	}
}

// The core lets a guest be stopped while its host's lease lasts for the budget and this
// much longer (core: moveAsksToStop); the gateway takes its yes for good that long.
func TestAGatewayStopsAGuestWhileTheLeaseCoversIt(t *testing.T) {
	if covers := core.DefaultTiming().PetInterval; gateway.LeaseCovers > covers {
		t.Errorf("a yes is good for %v, the lease covers %v of it", gateway.LeaseCovers, covers)
	}
}
