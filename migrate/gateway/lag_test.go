package gateway

import (
	"encoding/binary"
	"testing"
	"time"

	"bumpless/migrate/link"
)

func TestTheLagIsThatOfTheSlowestConnection(t *testing.T) {
	const ms = time.Millisecond
	zero := time.Now()
	pong := func(connection uint64) []byte { return binary.BigEndian.AppendUint64(nil, connection) }
	l := newLag(2)
	if got := l.now(zero); got != 0 {
		t.Errorf("before any PING: %v; want 0", got)
	}
	l.waiting[0], l.waiting[1] = zero, zero
	must(t, l.pong(pong(0), zero.Add(30*ms)))
	if got := l.now(zero.Add(40 * ms)); got != 40*ms {
		t.Errorf("with a PING unanswered for 40 ms: %v; want that", got)
	}
	must(t, l.pong(pong(1), zero.Add(50*ms)))
	if got := l.now(zero.Add(time.Second)); got != 50*ms {
		t.Errorf("with answers after 30 and 50 ms: %v; want 50 ms", got)
	}
	for name, body := range map[string][]byte{"unasked": pong(0), "of no connection": pong(2), "short": {1}} {
		if l.pong(body, zero) == nil {
			t.Errorf("a PONG that is %s is taken", name)
		}
	}
	if l.answeredSince(zero) || !l.answeredSince(zero.Add(-ms)) {
		t.Error("both PINGs were sent at one time: answeredSince() must be true for what was before it only")
	}
	if got := (*lag)(nil).now(zero); got != 0 {
		t.Errorf("of a destination that does not tell: %v; want 0", got)
	}
}

// A destination whose QEMU takes pages slowly has acknowledged them long before:
// the guest must not wait for that while it is stopped.
func TestASlowDestinationIsWaitedForBeforeTheStop(t *testing.T) {
	b := newBench(t)
	b.source.Policy, b.source.BudgetMs, b.source.MarginMs = "bumpless", 1000, 300
	b.dst.slow = 4 * time.Millisecond // for each page: 1.4 s in all
	b.begin()
	r := b.result(0)
	if r.Outcome != Moved || r.StopMs > 1000 {
		t.Errorf("%s after a stop of %.0f ms: %q; want moved within 1000 ms", r.Outcome, r.StopMs, r.Reason)
	}
}

func TestADestinationThatDoesNotKnowPingGetsNone(t *testing.T) {
	if (hello{Version: link.Version}).Pings {
		t.Error("a peer that says nothing is taken to answer PING")
	}
}
