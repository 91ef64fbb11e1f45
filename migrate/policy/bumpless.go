package policy

import "time"

// bumpless is the default. It holds by layered's levels, and lets a hot page go
// while the link idles if ar's prediction says that the page will not be written
// soon, so that a hot set that barely fits the budget still moves. It drops what
// has not changed, compresses, and stops the guest when the estimate is at its
// floor rather than at the first chance: an idle guest's pause was 94 to 185 ms
// when switching at the first chance, and 32 ms after the backlog had drained.
//
// Of 216 replays (six loads, three seeds, 100 Mbit/s to 1 Gbit/s, budgets of 150
// ms to 1 s), it moved 126 with 31.1 GB in all. With the levels alone it would
// have moved 124 with 31.0 GB, by ar's rule 126 with 37.0 GB, by delayed's 126
// with 34.1 GB.
//
// Parameters: the floor is reached when 2 passes have not improved the estimate
// by a tenth. An estimate of up to a quarter above the best is taken then, twice
// the best after 4 passes, five times after 8: a move should also end.
//
// What another rule for holding would make of it stands beside its figures in
// migrate/replay/testdata/figures.txt.
type bumpless struct{ layered }

func (*bumpless) Name() string   { return "bumpless" }
func (*bumpless) Traits() Traits { return Traits{Compress: true, DropUnchanged: true} }

func (b *bumpless) Release(p Page, m Moment) bool {
	return b.layered.Release(p, m) || m.Idle() && m.Pass > p.LastPass+1 && !writtenSoon(p, m)
}

func (b *bumpless) Decide(s Situation) Decision {
	e := s.Estimate()
	d := Decision{Estimate: e}
	if !s.ready() {
		return d
	}
	b.trend.add(e, s.Limit())
	switch {
	case e <= s.Limit() && b.atFloor(e):
		d.Verdict = Switch
	case b.trend.hopeless() && e > s.Limit():
		d.Verdict, d.Reason = Refuse, refusal(s, e)
	}
	return d
}

func (b *bumpless) atFloor(e time.Duration) bool {
	waited := time.Duration(b.trend.sinceBest)
	return waited >= floorPatience && e <= b.trend.best+b.trend.best*waited*waited/16
}
