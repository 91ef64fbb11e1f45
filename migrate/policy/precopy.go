package policy

// precopy is the baseline: send what is dirty, in passes, and stop as soon as
// the estimate is within the budget (QEMU's default algorithm).
type precopy struct{ trend trend }

func (*precopy) Name() string              { return "precopy" }
func (*precopy) Traits() Traits            { return Traits{} }
func (*precopy) Hold(Page, Moment) bool    { return false }
func (*precopy) Release(Page, Moment) bool { return true }

func (p *precopy) Decide(s Situation) Decision { return firstChance(&p.trend, s) }

// firstChance switches when the estimate is first within the limit, and
// refuses when it has stopped improving above it.
func firstChance(t *trend, s Situation) Decision {
	e := s.Estimate()
	d := Decision{Estimate: e}
	if !s.ready() {
		return d
	}
	t.add(e, s.Limit())
	switch {
	case e <= s.Limit():
		d.Verdict = Switch
	case t.hopeless():
		d.Verdict, d.Reason = Refuse, refusal(s, e)
	}
	return d
}
