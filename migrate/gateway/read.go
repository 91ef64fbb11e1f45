package gateway

import (
	"fmt"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/policy"
	"bumpless/migrate/stream"
)

// read takes the source's stream into the table until it ends.
func (s *source) read() {
	e := s.readAll()
	s.ended <- e
}

func (s *source) readAll() ending {
	r := stream.NewReader(s.pipe, streamBuffer)
	p := newPasses(s, r)
	for {
		record, err := r.Next()
		if err != nil {
			return ending{err: err}
		}
		switch record.Kind {
		case stream.Config:
			err = s.send.control(link.Frame{Type: link.Config, Body: record.Raw})
		case stream.Command:
			if record.Number == stream.CommandPing {
				err = s.answerPing(record.Raw)
			}
			if err == nil {
				err = s.send.control(link.Frame{Type: link.Command, Body: record.Raw})
			}
		case stream.RAMStart:
			err = s.startTable(record)
		case stream.Page:
			err = p.page(record)
		case stream.SectionEnd:
			if record.Last {
				return s.readTail(r)
			}
			err = p.sectionEnd()
		}
		if err != nil {
			return ending{err: err}
		}
	}
}

func (s *source) readTail(r *stream.Reader) ending {
	e := ending{ramEnd: time.Now()}
	e.tail, e.err = r.Tail()
	e.tailDone = time.Now()
	return e
}

func (s *source) startTable(record stream.Record) error {
	var ram uint64
	for _, b := range record.Blocks {
		ram += b.Size
	}
	if ram > s.cfg.RAMBytes {
		return fmt.Errorf("the guest has %d MiB of RAM, %d MiB were announced", ram>>20, s.cfg.RAMBytes>>20)
	}
	if err := s.send.control(link.Frame{Type: link.RAMStart, Body: record.Raw}); err != nil {
		return err
	}
	memory, spots, err := s.findMemory(record.Blocks)
	if err != nil {
		return err
	}
	s.table = newTable(s.policy, s.hasher, record.Blocks, s.cfg.HeldMiB<<20/stream.PageSize, memory)
	s.table.hotspots = spots
	s.ram = ram
	if s.cfg.TracePath != "" {
		if s.recorder, err = newRecorder(s.cfg.TracePath, time.Duration(s.cfg.TraceMs)*time.Millisecond, s.hasher, len(s.table.data)); err != nil {
			return err
		}
	}
	s.passes.Store(1) // from here on others may look at the table
	s.send.start(s.table, min(s.granted, s.slots(ram, len(s.send.conns))), s.kinds)
	return nil
}

// findMemory among the blocks, and where the guest has been writing there.
func (s *source) findMemory(blocks []stream.Block) (*memoryFile, *hotspots, error) {
	l := s.lookout
	if l == nil {
		return nil, nil, nil
	}
	s.lookout = nil
	spots, err := l.end()
	if err == nil {
		err = l.memory.find(blocks)
	}
	if err != nil || l.memory.block < 0 {
		l.memory.close()
		return nil, nil, err
	}
	return l.memory, spots, nil
}

// passes finds the ends of passes. QEMU walks through memory upwards, so a page
// at or below the last one means that QEMU has looked for dirty pages again. A
// section without pages means so, too: nothing was dirty.
//
// QEMU looks again as soon as we have taken what it found, and not when we want
// more: after a wait, what is in the pipe is as old as the wait, and after a few
// small passes there may be many of them in it. So a pass after a wait takes what
// had been found before, and then what is found now: a switchover right after
// the pass finds next to nothing.
type passes struct {
	s         *source
	r         *stream.Reader
	first     time.Time // when the first one began
	bulk      time.Time // when every page had been sent, or held; zero before
	started   time.Time
	looked    time.Time    // when QEMU last looked for dirty pages, as far as we know
	found     [2]time.Time // the looks that found what this pass brought, and the one before
	oldUntil  int64        // offset in the stream: what comes before was found before the wait
	old       int          // findings behind it that may be as old
	lastBlock int
	lastAt    uint64
	any       bool // pages came since QEMU looked
	inSection bool // pages came in this section
}

// blockedFindings: of what QEMU found before the wait, the last bytes in the pipe
// may belong to one look's findings, and QEMU may wait to write those of the next.
const blockedFindings = 2

func newPasses(s *source, r *stream.Reader) passes {
	now := time.Now()
	return passes{s: s, r: r, first: now, started: now, looked: now, found: [2]time.Time{now, now}}
}

func (p *passes) page(r stream.Record) error {
	if p.any && (r.Block < p.lastBlock || (r.Block == p.lastBlock && r.Offset <= p.lastAt)) {
		if err := p.look(); err != nil {
			return err
		}
	}
	p.lastBlock, p.lastAt, p.any, p.inSection = r.Block, r.Offset, true, true
	if rec := p.s.recorder; rec != nil {
		if err := rec.page(p.s.table.place(r.Block, r.Offset), r.Data); err != nil {
			return err
		}
	}
	return p.s.table.arrive(r.Block, r.Offset, r.Data, time.Since(p.s.began))
}

func (p *passes) sectionEnd() error {
	empty := !p.inSection
	p.inSection = false
	if empty {
		return p.look()
	}
	return nil
}

// look: QEMU has looked for dirty pages, at the latest now.
func (p *passes) look() error {
	p.any = false
	select {
	case <-p.s.hurry:
		return nil
	default:
	}
	found := p.looked
	p.looked = time.Now()
	if err := p.record(found); err != nil {
		return err
	}
	if p.old > 0 {
		if p.r.Offset() > p.oldUntil {
			p.old--
		}
		return nil
	}
	p.found = [2]time.Time{found, p.found[0]}
	p.end()
	return nil
}

func (p *passes) record(found time.Time) error {
	rec := p.s.recorder
	if rec == nil {
		return nil
	}
	complete, err := rec.end(found.Sub(p.first), p.looked.Sub(p.s.began))
	if complete {
		p.s.recorder = nil
	}
	return err
}

// end closes a pass, lets the policy decide, and waits for the next pass to be
// due: reading on at once would make QEMU look for dirty pages all the time.
func (p *passes) end() {
	s := p.s
	took := time.Since(p.started)
	if p.bulk.IsZero() && s.table.bulkSent() {
		p.bulk = time.Now()
		s.send.shrunk.forget()
	}
	longest := time.Duration(s.cfg.PassIntervalMs) * time.Millisecond
	brought := s.table.passEnd(policy.Moment{
		Now: p.looked.Sub(s.began), Ratio: s.send.ratio(), LinkBytesPerS: s.linkBytesPerS(), Interval: policy.PassInterval(longest, 0),
	})
	arrived := !p.bulk.IsZero() && s.lag.answeredSince(p.bulk)
	d := s.decide(brought, p.found[0].Sub(p.found[1]), p.looked.Sub(p.found[0]), arrived)
	if d.Verdict != policy.Wait && s.recorder == nil {
		if s.stops(d) {
			return
		}
	}
	switch {
	case p.bulk.IsZero():
		// Until it is through, passes tell what is written again, and no more.
		p.wait(longest, s.table.bulkSent)
	case !arrived && took < policy.QuietPass:
		// The first that counts comes when all is there: the link has nothing to do.
		p.wait(policy.PassInterval(longest, took), func() bool { return s.table.dryNow() && s.lag.answeredSince(p.bulk) })
	default:
		p.wait(policy.PassInterval(longest, took), nil)
	}
	p.started = time.Now()
}

// stops hands a decision on; false: another pass is due, since the stop has not
// been allowed yet.
func (s *source) stops(d policy.Decision) bool {
	select {
	case s.decided <- d:
	case <-s.hurry:
		return true
	}
	select {
	case <-s.goOn:
		return false
	case <-s.resume:
		return true
	}
}

// enoughPoll is how often a wait looks whether it is.
const enoughPoll = time.Millisecond

// wait until the next pass is due, or enough says that it need not be waited for.
func (p *passes) wait(interval time.Duration, enough func() bool) {
	due := p.started.Add(interval)
	if time.Until(due) <= 0 {
		return
	}
	hurried := false
	for left := time.Until(due); left > 0 && !hurried && (enough == nil || !enough()); left = time.Until(due) {
		if enough != nil {
			left = min(left, enoughPoll)
		}
		select {
		case <-time.After(left):
		case <-p.s.hurry:
			hurried = true
		}
	}
	p.old, p.oldUntil = blockedFindings, p.r.Taken()+inPipe(p.s.pipe)
}

// decide reports the pass and asks the policy. What the pass brought was dirtied
// during before; QEMU's look at what was dirtied since is elapsed old.
// arrived: every page has been sent once, or is held, and the destination has
// answered since.
func (s *source) decide(brought policy.Brought, before, elapsed time.Duration, arrived bool) policy.Decision {
	l := s.table.load(brought.Fresh)
	s.dirty = s.dirty.Add(brought, before)
	brought.SentSteady, brought.Rate = l.sentSteady, s.dirty
	n := s.passes.Add(1) - 1
	situation := policy.Situation{
		Now: time.Since(s.began), Pass: n, AllSentOnce: arrived,
		PendingBytes:  l.contentBytes + l.leavingBytes,
		ArrivedBytes:  int64(brought.Arrived) * stream.PageSize,
		Dirtying:      before,
		FreshBytes:    brought.LastLook(before, elapsed+policy.StopAllowance) * stream.PageSize,
		InFlightBytes: s.send.unsent(), Lag: s.lag.now(time.Now()),
		Ratio: l.ratio, LinkBytesPerS: s.linkBytesPerS(),
		Fixed: time.Duration(s.cfg.FixedMs)*time.Millisecond + s.send.waits(), Regions: l.regions,
		Budget: time.Duration(s.cfg.BudgetMs) * time.Millisecond, Margin: time.Duration(s.cfg.MarginMs) * time.Millisecond,
		Waking: time.Duration(s.cfg.WakingMs) * time.Millisecond,
	}
	d := s.policy.Decide(situation)
	_, kept, _ := s.pace.limit()
	s.report(Event{Phase: Streaming, AtMs: ms(situation.Now), Pass: &Pass{
		Number: n, AllSentOnce: arrived, Pages: brought.Arrived, HeldBytes: l.heldBytes, QueuedBytes: l.queuedBytes(),
		LinkBytes: s.meter.Sent.Load(), LinkBytesPerS: situation.LinkBytesPerS, Ratio: s.send.ratio(), EstimateMs: ms(d.Estimate),
		KeptBytesPerS: kept,
	}})
	return d
}
