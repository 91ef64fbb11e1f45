package policy

import "math/bits"

// layered sorts pages into levels by how often they are dirtied, and treats
// each level in its own way (Zhang B. 2016, Xen, substation servers):
//
//	cold   sent at once
//	warm   sent when quiet for 2 passes, or when the link idles
//	hot    held until it cools down, or the switchover
//
// A page's level follows from the share of the last 16 passes (fewer, early in
// the move) in which it was modified: hot from a half, and at least twice; warm
// from an eighth; cold below. A page that stays quiet sinks through the levels
// by itself, since the share is taken anew in each pass.
//
// Ours differs in that the share is of passes in a window and not of the whole
// move, so that a page may change its level; in that the middle level yields to
// an idle link; and in that the moment is chosen from the pages held.
type layered struct{ trend trend }

type level int

const (
	cold level = iota
	warm
	hot
)

// Shares of the passes in the window from which a page is of that level.
const (
	window    = 16 // passes: the bits of Page.Recent
	hotShare  = 2  // every second pass
	warmShare = 8  // every eighth
)

func levelOf(p Page, pass uint32) level {
	if pass <= 1 || p.Dirtied <= 1 {
		return cold // the bulk is not a modification
	}
	known := int(min(pass-1, window))
	n := bits.OnesCount16(p.RecentAt(pass))
	switch {
	case n >= 2 && n*hotShare >= known:
		return hot
	case n*warmShare >= known:
		return warm
	}
	return cold
}

func (*layered) Name() string   { return "layered" }
func (*layered) Traits() Traits { return Traits{} }

func (*layered) Hold(p Page, m Moment) bool {
	switch levelOf(p, m.Pass) {
	case hot:
		return true
	case warm:
		return !m.Idle()
	}
	return false
}

func (*layered) Release(p Page, m Moment) bool {
	switch levelOf(p, m.Pass) {
	case hot:
		return false
	case warm:
		return m.Pass > p.LastPass+quietFor || m.Idle()
	}
	return true
}

func (l *layered) Decide(s Situation) Decision { return firstChance(&l.trend, s) }
