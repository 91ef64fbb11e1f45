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
	r := stream.NewReader(s.pipe, readAhead)
	p := passes{s: s, started: time.Now()}
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
			p.sectionEnd()
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
	s.table = newTable(s.policy, s.hasher, record.Blocks, s.cfg.HeldMiB<<20/stream.PageSize)
	compressor, err := link.NewCompressor()
	if err != nil {
		return err
	}
	s.prober = &prober{send: s.send, compressor: compressor}
	s.ram = ram
	s.passes.Store(1) // from here on others may look at the table
	s.send.start(s.table, min(s.granted, s.slots(ram, len(s.send.conns))))
	return nil
}

// passes finds the ends of passes in the order of pages: QEMU walks through
// memory upwards, so a page at or below the last one begins a new pass. A
// section without pages ends one too: nothing is dirty.
//
// QEMU looks for dirty pages as soon as it has written a pass, and then sits in
// a write until it is read again. So after a wait what comes first was found
// before the wait, and says nothing of it; only the pass behind that does. The
// two count as one. (Taken for a pass of its own, the old one of 100 pages made
// the estimate 36 ms where the 1700 pages behind it took 190.)
type passes struct {
	s         *source
	started   time.Time
	lastBlock int
	lastAt    uint64
	any       bool // pages came in this pass
	inSection bool // pages came in this section
	old       bool // what comes was found before the wait
}

func (p *passes) page(r stream.Record) error {
	if p.any && (r.Block < p.lastBlock || (r.Block == p.lastBlock && r.Offset <= p.lastAt)) {
		p.end()
	}
	p.lastBlock, p.lastAt, p.any, p.inSection = r.Block, r.Offset, true, true
	return p.s.table.arrive(r.Block, r.Offset, r.Data, time.Since(p.s.began))
}

func (p *passes) sectionEnd() {
	if !p.inSection {
		p.end()
	}
	p.inSection = false
}

// end closes a pass, lets the policy decide, and waits for the next pass to be
// due: reading on at once would make QEMU look for dirty pages all the time.
func (p *passes) end() {
	p.any = false
	if p.old {
		p.old = false
		return
	}
	s := p.s
	select {
	case <-s.hurry:
		return
	default:
	}
	took := time.Since(p.started)
	arrived, fresh := s.table.passEnd()
	d := s.decide(arrived, fresh)
	if d.Verdict != policy.Wait {
		select {
		case s.decided <- d:
			<-s.resume
		case <-s.hurry:
		}
		return
	}
	wait := max(0, time.Until(p.started.Add(s.interval(took))))
	p.old = wait > 0
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.hurry:
	}
	p.started = time.Now()
}

// ratio of everything that a stop would send: held pages as a sample of them
// says, the others like those that were sent lately.
func (s *source) ratio(l load, fresh int) float64 {
	lately := s.send.ratio()
	ofHeld, any := s.prober.ratio(s.table)
	if !any {
		return lately
	}
	others := float64(l.queuedBytes() + int64(l.sending*link.MaxBatchPages*stream.PageSize) + int64(fresh)*stream.PageSize)
	heldBytes := float64(l.heldBytes)
	return (ofHeld*heldBytes + lately*others) / (heldBytes + others)
}

// Bounds of the pace of passes.
const (
	shortestPass = 50 * time.Millisecond
	passShare    = 20 // of the time may go into passes: one part of so many
)

// interval from the start of a pass that took so long to the start of the next
// one. An idle guest's passes take 2 ms: to look more often costs it little and
// ends the move sooner. A busy one's, or those that the link holds up, keep the
// set pace.
func (s *source) interval(took time.Duration) time.Duration {
	longest := time.Duration(s.cfg.PassIntervalMs) * time.Millisecond
	return min(longest, max(shortestPass, passShare*took))
}

// decide reports the pass and asks the policy.
func (s *source) decide(arrived, fresh int) policy.Decision {
	l := s.table.load()
	n := s.passes.Add(1) - 1
	situation := policy.Situation{
		Now: time.Since(s.began), Pass: n, AllSentOnce: true,
		PendingBytes:  l.contentBytes + int64(l.sending*link.MaxBatchPages*stream.PageSize),
		FreshBytes:    int64(fresh) * stream.PageSize,
		InFlightBytes: s.send.unsent(),
		Ratio:         s.ratio(l, fresh), LinkBytesPerS: s.rate.bytesPerS(),
		Fixed: time.Duration(s.cfg.FixedMs)*time.Millisecond + s.send.waits(), Regions: l.regions,
		Budget: time.Duration(s.cfg.BudgetMs) * time.Millisecond, Margin: time.Duration(s.cfg.MarginMs) * time.Millisecond,
	}
	d := s.policy.Decide(situation)
	s.report(Event{Phase: Streaming, AtMs: ms(situation.Now), Pass: &Pass{
		Number: n, Pages: arrived, HeldBytes: l.heldBytes, QueuedBytes: l.queuedBytes(),
		LinkBytes: s.meter.Sent.Load(), LinkBytesPerS: situation.LinkBytesPerS, Ratio: situation.Ratio, EstimateMs: ms(d.Estimate),
	}})
	return d
}
