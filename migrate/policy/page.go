package policy

import "time"

// Page is the history of one guest page during a move: 32 bytes for each page
// of the guest, 0.8 % of its RAM. The first arrival is QEMU's bulk, which brings
// every page; each later one is a modification.
type Page struct {
	LastPass uint32        // in which it was last dirtied; passes count from 1
	Streak   uint16        // consecutive passes in which it was dirtied, up to LastPass
	Dirtied  uint16        // times it was dirtied, the bulk counted, saturating
	LastAt   time.Duration // when it last arrived
	Recent   uint16        // bit i: modified in pass LastPass-i; the bulk is not counted
	Gaps     Gaps          // between its modifications
}

// Touch notes that the page arrived (again) in pass at now.
func (p Page) Touch(pass uint32, now time.Duration) Page {
	switch {
	case p.Dirtied == 0: // the bulk
		p.Streak = 1
	case p.LastPass == pass:
		// twice in one pass: nothing new about passes
	default:
		if p.LastPass+1 != pass {
			p.Streak = 0
		}
		p.Streak = saturate(p.Streak)
		if p.Dirtied > 1 {
			p.Gaps = p.Gaps.Add(now - p.LastAt)
		}
		p.Recent = p.RecentAt(pass) | 1
	}
	p.Dirtied = saturate(p.Dirtied)
	p.LastPass, p.LastAt = pass, now
	return p
}

// RecentAt is Recent as it looks in pass: bit i stands for pass-i.
func (p Page) RecentAt(pass uint32) uint16 { return p.Recent << min(pass-p.LastPass, 16) }

// Hot: it is modified in every second pass, or more often.
func (p Page) Hot(pass uint32) bool { return levelOf(p, pass) == hot }

func saturate(n uint16) uint16 {
	if n == 1<<16-1 {
		return n
	}
	return n + 1
}
