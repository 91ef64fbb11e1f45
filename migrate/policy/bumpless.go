package policy

import "time"

// bumpless is the default. It looks through the guest's memory while it sends it
// (Traits.ReadAhead, InOrder). Whatever the guest writes again waits while the link has other
// work, also what was not sent yet, with its newest content. Then the pages leave first
// that are expected to stay as they are for longest (UntilWrite, which is ar's
// prediction), and none that will be written before the next pass. It drops what has not
// changed, compresses, and stops the guest when waiting has stopped paying.
//
// Why sending a hot set pays: of N bytes that are rewritten every T, over a link
// of R bytes/s, N stay unsent if all are held, but only N - R T if the link sends
// of them while they are written anew, and none if it is faster than the guest. Of a
// buffer that is written round and round this holds for what was written last; of what
// is sent in the order of addresses about half is written again before the stop.
// Whether the estimate comes down that way its course shows.
//
// Parameters: within the limit, waiting pays while the estimate falls by 0.4 of
// the time that passes (over the last 100 ms), is 10 ms or more above the
// fixed cost, and is above a third of the limit or above what a pass like the last one
// would leave; a burst that lifts it into the last fifth of the limit is waited out.
// Above the limit it is hopeless when the estimate has not fallen by
// a fifth of the time that passed since it was best, and by a twentieth, for 500
// ms and 3 passes; or when 1.9 times the first pass's time is over, or will be
// with the next pass, and it would take half of that time more; but not while it was
// within the limit lately (in one of 8 passes).
//
// A page that the first pass brings from where the guest is known to be writing counts as
// written again, and waits with the rest; unless the link idles, in that pass, since it
// is CPU time that is short then.
//
// What another rule for holding would make of it stands beside its figures in
// migrate/replay/testdata/figures.txt.
type bumpless struct{ course course }

func (*bumpless) Name() string { return "bumpless" }
func (*bumpless) Traits() Traits {
	return Traits{Compress: true, DropUnchanged: true, ReadAhead: true, QuietestFirst: true}
}

func (*bumpless) Hold(p Page, m Moment) bool { return p.Dirtied > 1 && (m.Pass > 1 || !m.Idle()) }

func (*bumpless) Release(p Page, m Moment) bool { return UntilWrite(p, m.Now) >= m.Interval }

// burst: the estimate has just risen to near the limit, and may go on. There is a
// better moment, unless there has been none for long.
func (b *bumpless) burst(e, limit time.Duration) bool {
	return e > limit-limit/nearLimit && b.course.rises() && !b.course.hopeless()
}

// nearLimit: the last one of so many parts.
const nearLimit = 5

// worthLooking above the fixed cost; less is not worth another look.
const worthLooking = 10 * time.Millisecond

// short: one part of so many of the limit is, where waiting brings no more.
const short = 3

func (b *bumpless) Decide(s Situation) Decision {
	e := s.Estimate()
	d := Decision{Estimate: e}
	if !s.ready() {
		return d
	}
	b.course.add(s.Now, e)
	switch {
	case e <= s.Limit():
		if e < s.Fixed+worthLooking || e <= min(s.floor(), s.Limit()/short) || !b.course.pays() && !b.burst(e, s.Limit()) {
			d.Verdict = Switch
		}
	case b.course.was(s.Limit()):
	case b.course.hopeless() || b.course.tooLate(s.Limit()):
		d.Verdict, d.Reason = Refuse, refusal(s, e)
	}
	return d
}
