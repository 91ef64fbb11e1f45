package policy

// delayed holds pages that are dirtied in consecutive passes until they go
// quiet or the guest stops (Zhang B. 2016, "delayed copy"). A held page's newest
// content overwrites the older one in place.
//
// Parameters, in passes: held from a streak of 2, let go after 2 quiet ones.
//
// Ours differs in that the moment is chosen from the pages held, not from a
// count of passes.
type delayed struct{ trend trend }

// heldFrom is how many consecutive passes make a page one to hold. The first
// pass brings every page, so a streak of 2 there says only "dirtied once".
const heldFrom = 2

// quietFor is how many passes without a write let a held page go.
const quietFor = 2

func heldByStreak(p Page) bool { return p.Streak >= heldFrom && p.Dirtied >= heldFrom }

func (*delayed) Name() string   { return "delayed" }
func (*delayed) Traits() Traits { return Traits{} }

func (*delayed) Hold(p Page, _ Moment) bool { return heldByStreak(p) }

func (*delayed) Release(p Page, m Moment) bool { return m.Pass > p.LastPass+quietFor }

func (d *delayed) Decide(s Situation) Decision { return firstChance(&d.trend, s) }
