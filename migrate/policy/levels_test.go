package policy

import (
	"testing"
	"time"
)

// dirtied in those passes, 200 ms each, after the bulk.
func dirtied(passes ...uint32) Page {
	p := Page{}.Touch(1, 200*ms)
	for _, pass := range passes {
		p = p.Touch(pass, time.Duration(pass)*200*ms)
	}
	return p
}

// moments of a link of 10 MB/s: busy with 1 s of backlog, and idle.
func busy(pass uint32) Moment {
	return Moment{Pass: pass, Now: time.Duration(pass) * 200 * ms, QueuedBytes: 10e6, Ratio: 1, LinkBytesPerS: 10e6, Interval: 200 * ms}
}

func idling(pass uint32) Moment {
	m := busy(pass)
	m.QueuedBytes = 0
	return m
}

func TestALinkIdlesWithLessThanHalfAnIntervalToSend(t *testing.T) {
	for _, c := range []struct {
		queued  int64
		rate    float64
		backlog time.Duration
		idle    bool
	}{
		{0, 10e6, 0, true},
		{900_000, 10e6, 90 * ms, true},
		{1_000_000, 10e6, 100 * ms, false},
		{10_000_000, 10e6, 1000 * ms, false},
		{0, 0, 200 * ms, false}, // not measured
	} {
		m := Moment{QueuedBytes: c.queued, Ratio: 1, LinkBytesPerS: c.rate, Interval: 200 * ms}
		if m.Backlog() != c.backlog || m.Idle() != c.idle {
			t.Errorf("%d bytes at %.0f: Backlog() = %v, Idle() = %v; want %v, %v", c.queued, c.rate, m.Backlog(), m.Idle(), c.backlog, c.idle)
		}
	}
}

func TestEachLevelHasItsOwnTreatment(t *testing.T) {
	for _, c := range []struct {
		name              string
		page              Page
		pass              uint32
		level             level
		holdBusy, holdIdl bool // when it arrived in that pass
	}{
		{"the bulk", dirtied(), 1, cold, false, false},
		{"once, early", dirtied(2), 2, warm, true, false},
		{"in each pass", dirtied(2, 3, 4), 4, hot, true, true},
		{"in every second", dirtied(3, 5, 7), 7, hot, true, true},
		{"in every fourth", dirtied(5, 9, 13, 17), 17, warm, true, false},
		{"once in eight", dirtied(9), 9, warm, true, false},
		{"once in ten", dirtied(11), 11, cold, false, false},
	} {
		p := newPolicy(t, "layered")
		if got := levelOf(c.page, c.pass); got != c.level {
			t.Errorf("%s: level %d; want %d", c.name, got, c.level)
		}
		if got := p.Hold(c.page, busy(c.pass)); got != c.holdBusy {
			t.Errorf("%s: Hold() = %v on a busy link; want %v", c.name, got, c.holdBusy)
		}
		if got := p.Hold(c.page, idling(c.pass)); got != c.holdIdl {
			t.Errorf("%s: Hold() = %v on an idle link; want %v", c.name, got, c.holdIdl)
		}
	}
}

// released is how many quiet passes a page waits.
func released(t *testing.T, policy string, p Page, moment func(uint32) Moment) uint32 {
	t.Helper()
	for quiet := range uint32(40) {
		if newPolicy(t, policy).Release(p, moment(p.LastPass+1+quiet)) {
			return quiet
		}
	}
	t.Fatalf("%s never releases %+v", policy, p)
	return 0
}

func TestPagesAreReleased(t *testing.T) {
	hotPage := dirtied(2, 3, 4, 5, 6, 7, 8, 9)
	for _, c := range []struct {
		name, policy string
		page         Page
		busy, idle   uint32 // quiet passes
	}{
		{"a warm page when quiet or the link idles", "layered", dirtied(5), 2, 0},
		{"a hot page when it has cooled down to cold", "layered", dirtied(2, 3), 2, 2},
		{"a page that was always written when half of the passes were quiet", "layered", hotPage, 8, 8},
		{"delayed looks at the quiet alone", "delayed", hotPage, 2, 2},
		{"ar holds what was written once for the time that matters", "ar", dirtied(2), 6, 1},
		{"ar sends at once what is due late", "ar", dirtied(2, 12, 22, 32), 0, 0},
	} {
		if got := released(t, c.policy, c.page, busy); got != c.busy {
			t.Errorf("%s: after %d quiet passes on a busy link; want %d", c.name, got, c.busy)
		}
		if got := released(t, c.policy, c.page, idling); got != c.idle {
			t.Errorf("%s: after %d quiet passes on an idle link; want %d", c.name, got, c.idle)
		}
	}
}

func TestARSendsOnlyWhatIsWrittenLaterThanItMatters(t *testing.T) {
	every := func(passes uint32) Page { return dirtied(2, 2+passes, 2+2*passes, 2+3*passes) }
	checkHolds(t, "ar", []holdCase{
		{"the bulk is sent", dirtied(), time.Second, false},
		{"nothing is known of a first write", dirtied(7), 0, true},
		{"every 200 ms, idle link", every(1), 0, true},
		{"every second, idle link", every(5), 0, false},
		{"every second, backlog of 500 ms", every(5), 500 * ms, false},
		{"every second, backlog of 800 ms", every(5), 800 * ms, true},
		{"every second, backlog of 3 s", every(5), 3 * time.Second, true},
	})
}
