package replay

import (
	"errors"
	"fmt"
	"time"

	"bumpless/migrate/pages"
	"bumpless/migrate/policy"
)

// move is one replay. Time is now; the link has its own, which runs ahead by
// the batch that is being written.
type move struct {
	Settings
	policy  policy.Policy
	guest   *memory
	table   *pages.Table[content]
	wire    *wire
	spots   *pages.Hotspots[content] // nil: nothing is read ahead
	ahead   bool                     // contents are read when they are sent, and the reader does not wait
	now     time.Duration
	dirty   []uint32
	looked  time.Duration    // when QEMU last looked at its bitmap
	found   [2]time.Duration // the looks that found what this pass brought, and the one before
	waited  bool             // before this pass
	asked   time.Duration    // whoever has a say; 0: not yet
	dirtied policy.DirtyRate
	out     Figures
}

// Run moves the traced guest by the policy of that name.
func Run(t Trace, name string, s Settings) (Figures, error) {
	p, err := policy.New(name)
	if err != nil {
		return Figures{}, err
	}
	return RunPolicy(t, p, s)
}

// RunPolicy moves the traced guest by a policy that has not been used yet.
func RunPolicy(t Trace, p policy.Policy, s Settings) (Figures, error) {
	if err := errors.Join(t.Check(), s.check()); err != nil {
		return Figures{}, err
	}
	m := &move{Settings: s, policy: p, guest: newMemory(t), table: pages.New[content](p, int(t.Pages), s.HeldPages),
		wire: &wire{bytesPerS: s.Link.bytesPerS(), compress: p.Traits().Compress}}
	if p.Traits().ReadAhead {
		m.table.ReadAhead()
		m.spots, _ = pages.FindHotspots(int(t.Pages), func(page int) (content, error) { return m.guest.content[page], nil })
	}
	m.look()
	for m.out.Outcome == "" {
		m.step()
	}
	m.out.LinkBytes, m.out.Passes, m.out.Total = m.wire.sent, m.table.Pass()-1, m.now
	if m.table.Stopped() {
		m.out.Passes++ // the last look
	}
	return m.out, nil
}

func (s Settings) check() error {
	switch {
	case s.Link.ReservePercent < 0 || s.Link.ReservePercent > 99 || s.Link.bytesPerS() < 1000 || s.Link.BitsPerS > 1e12:
		return fmt.Errorf("replay: a link of %d bits/s with a reserve of %d %%: want 8 kbit/s to 1 Tbit/s, and 0 to 99 %%", s.Link.BitsPerS, s.Link.ReservePercent)
	case s.Budget <= s.Margin || s.Margin < 0:
		return fmt.Errorf("replay: the budget, %v, must be more than the margin, %v", s.Budget, s.Margin)
	case s.PassInterval < time.Millisecond || s.ReadPage < 0 || s.QueuePages < 1 || s.HeldPages < 0 || s.Timeout <= 0:
		return errors.New("replay: a pass interval of 1 ms, a queue of one page and a timeout are the least")
	}
	return nil
}

// step is one pass, and what is decided after it.
func (m *move) step() {
	started := m.now
	m.read(false)
	if m.waited { // that was what QEMU had found before the wait
		m.look()
		m.read(false)
	}
	m.found = [2]time.Duration{m.looked, m.found[0]}
	m.look()
	if m.out.FirstPass == 0 && m.table.BulkSent() {
		m.out.FirstPass = m.now
		m.wire.raw, m.wire.packed = 0, 0 // what comes from now on shrinks otherwise
	}
	pass := m.table.Pass()
	brought := m.table.PassEnd(m.moment())
	m.send()
	d := m.policy.Decide(m.situation(pass, brought))
	m.out.Estimate = d.Estimate
	switch {
	case d.Verdict == policy.Switch && m.allowed():
		m.switchover()
	case d.Verdict == policy.Refuse:
		m.out.Outcome, m.out.Reason = Refused, d.Reason
	case m.now > m.Timeout:
		m.out.Outcome = TimedOut
	default:
		m.wait(started, m.now)
	}
}

// wait until the next pass is due, after one from started to ended; or until the
// bulk has been sent.
func (m *move) wait(started, ended time.Duration) {
	if m.out.FirstPass > 0 {
		m.now = max(m.now, started+policy.PassInterval(m.PassInterval, ended-started))
	}
	for due := started + m.PassInterval; m.now < due && !m.table.BulkSent(); m.send() {
		m.now = min(due, max(m.now, m.wire.free))
	}
	m.waited = m.now > ended
	m.send()
}

// allowed: who has a say has said yes. Passes go on meanwhile, unless the answer
// comes at once.
func (m *move) allowed() bool {
	if m.asked == 0 {
		m.asked = m.now
	}
	if m.Ask <= policy.AskPatience {
		m.now = max(m.now, m.asked+m.Ask)
		m.send()
	}
	return m.now >= m.asked+m.Ask
}

// look is QEMU's look at its bitmap, for the pass to come.
func (m *move) look() {
	m.guest.runTo(m.now)
	m.dirty = m.guest.take(m.dirty)
	m.looked = m.now
}

// read takes one pass from QEMU.
func (m *move) read(stopped bool) {
	m.guest.runTo(m.now)
	for _, page := range m.dirty {
		m.now += m.ReadPage
		m.send()
		for !stopped && m.table.Queued() >= m.QueuePages && !m.looksAhead() {
			m.now = max(m.now, m.wire.free)
			m.send()
		}
		if !stopped {
			m.guest.runTo(m.now)
		}
		wasEmpty := m.table.Queued() == 0
		c := m.guest.content[page]
		m.table.Arrive(int(page), c, c.number == 0, m.spots.Around(int(page), func() content { return c }), m.now)
		if wasEmpty {
			m.wire.free = max(m.wire.free, m.now)
		}
	}
}

// looksAhead tells whether contents are read when they are sent.
func (m *move) looksAhead() bool {
	m.ahead = m.ahead || m.policy.Traits().ReadAhead && !policy.InOrder(m.now, m.table.Seen(), m.table.Pages(), m.now)
	return m.ahead
}

// send lets the link catch up with now.
func (m *move) send() {
	for m.table.Waits() && m.wire.free <= m.now {
		if b := m.fill(); b.pages > 0 {
			m.wire.write(&b)
			for _, at := range b.at {
				m.table.Learn(at, b.share)
			}
		}
	}
}

// fill takes the next batch out of the queue.
func (m *move) fill() (b batch) {
	line, some := m.table.Line(0)
	for some && b.pages < pages.BatchPages {
		out, ok := m.table.Pop(line, len(b.at) < m.table.BatchContents())
		if !ok {
			break
		}
		c := m.table.Newest(out.At)
		if m.ahead {
			c = m.guest.content[out.At]
		}
		if out.Content {
			m.table.Sent(out.At, out.Version, c)
		}
		b.add(out, c)
	}
	return b
}

// moment is what the pages' table is told at the end of a pass.
func (m *move) moment() policy.Moment {
	return policy.Moment{Now: m.now, Ratio: m.wire.ratio(), LinkBytesPerS: m.wire.rate(m.now), Interval: policy.PassInterval(m.PassInterval, 0)}
}

func (m *move) situation(pass uint32, b policy.Brought) policy.Situation {
	m.dirtied = m.dirtied.Add(b, m.found[0]-m.found[1])
	b.SentSteady, b.Rate = m.table.SentSteady(), m.dirtied
	return policy.Situation{
		Now: m.now, Pass: pass, AllSentOnce: m.table.BulkSent(),
		PendingBytes: int64(m.table.Pending()) * PageSize, ArrivedBytes: int64(b.Arrived) * PageSize,
		Dirtying:      m.found[0] - m.found[1],
		FreshBytes:    b.LastLook(m.found[0]-m.found[1], m.now+policy.StopAllowance-m.found[0]) * PageSize,
		InFlightBytes: m.wire.inFlight(m.now), Ratio: m.table.Ratio(b.Fresh), LinkBytesPerS: m.wire.rate(m.now),
		Fixed: m.FixedEstimate, Regions: pages.Regions(m.table.Waiting()), Budget: m.Budget, Margin: m.Margin,
	}
}

// switchover stops the guest, sends all there is, and commits or rolls back.
func (m *move) switchover() {
	t0 := m.now
	m.table.LetGo()
	m.idleUntilNow()
	m.now += m.Costs.StopToRAMEnd
	m.read(true) // what it had found before
	m.dirty = m.guest.take(m.dirty)
	m.read(true)
	for m.table.Queued() > 0 {
		m.now = max(m.now, m.wire.free)
		m.send()
	}
	tail := m.Costs.TailBytes
	if m.wire.compress {
		tail = m.Costs.TailPacked
	}
	m.idleUntilNow()
	m.wire.put(frameBytes + tail)
	ready := m.wire.free + m.Costs.Load + m.Link.RTT // to the last byte's arrival, and READY's
	if deadline := t0 + m.Budget - m.Margin; ready > deadline {
		m.now = deadline + m.Costs.Resume
		m.out.Outcome, m.out.Reason, m.out.Pause = RolledBack, "the deadline passed", m.now-t0
		return
	}
	m.now = ready + m.Link.RTT/2
	m.out.Outcome, m.out.Pause = Moved, m.now-t0
}

// idleUntilNow: a link without work does not work in the past.
func (m *move) idleUntilNow() { m.wire.free = max(m.wire.free, m.now) }
