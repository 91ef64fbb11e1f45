package policy

// ar predicts each page's next write by an autoregressive model of the
// intervals between its modifications (Zhang P., Xen; the model: Gaps, AR(3) in
// 12 bytes for each page), and sends the page only if that write is further off
// than the time until it would matter.
//
// It matters when the guest may have been stopped before: no sooner than the
// link has sent what is queued and one more pass has been read. So the threshold
// is Moment.Backlog plus Moment.Interval: it grows as the link falls behind and
// more is held, and shrinks as the link catches up. A page whose predicted write
// did not come is expected to stay quiet for as long as it is overdue; one that
// was modified once, of which nothing is known yet, waits for one threshold.
//
// Ours differs in that the weights follow each page as the move goes on
// (the published models are fitted to a recorded series), and in that the
// threshold follows the link (the published one is a constant).
type ar struct{ trend trend }

func (*ar) Name() string   { return "ar" }
func (*ar) Traits() Traits { return Traits{} }

func (*ar) Hold(p Page, m Moment) bool { return m.Pass > 1 && p.Dirtied > 1 && writtenSoon(p, m) }

func (*ar) Release(p Page, m Moment) bool { return !writtenSoon(p, m) }

func (a *ar) Decide(s Situation) Decision { return firstChance(&a.trend, s) }

// writtenSoon: the predicted write comes before it would stop to matter.
func writtenSoon(p Page, m Moment) bool {
	return untilWrite(p, m.Now) <= m.Backlog()+m.Interval
}
