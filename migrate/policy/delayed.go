package policy

// delayed holds pages that are dirtied in consecutive passes until they go
// quiet or the guest stops (Zhang B. 2016, "delayed copy"). Ours differs in
// that the moment is chosen from the pages held, not from a count of passes.
type delayed struct{ trend trend }

// heldFrom is how many consecutive passes make a page one to hold. The first
// pass brings every page, so a streak of 2 there says only "dirtied once".
const heldFrom = 2

// quietFor is how many passes without a write let a held page go.
const quietFor = 2

func (*delayed) Name() string   { return "delayed" }
func (*delayed) Traits() Traits { return Traits{} }

func (*delayed) Hold(p Page, _ uint32) bool { return p.Streak >= heldFrom && p.Dirtied >= heldFrom }

func (*delayed) Release(p Page, pass uint32) bool { return pass > p.LastPass+quietFor }

func (d *delayed) Decide(s Situation) Decision { return firstChance(&d.trend, s) }
