package policy

// memoryPattern recognises a guest that dirties memory faster than passes can
// catch up with (Chao W. 2018, KVM: "memory pattern"), and goes to stop-and-copy
// early where the default algorithm would never converge.
//
//	bulk      pass 1: everything is sent
//	watching  passes 2 and 3 are held, so that they are read at memory speed:
//	          pass 2 brings what the bulk's time dirtied, pass 3 what a short
//	          time dirties
//	calm      pass 3 and later dirtied less than half of what the link carries:
//	          passes shrink; from here on as precopy
//	intensive otherwise: what is dirtied in consecutive passes is held, the
//	          rest is sent once; the guest is stopped as soon as the estimate
//	          is within the limit. If what one pass dirties would alone take
//	          longer than the limit, the move is refused at once.
//
// The pattern is looked for after every pass: a calm guest may become intensive.
//
// Ours differs in that stop-and-copy is bound to the budget (the published rule
// accepts whatever pause follows), and in that the two passes watched are held,
// which makes the verdict come a few intervals after the bulk.
type memoryPattern struct {
	trend trend
	phase patternPhase
}

type patternPhase int

const (
	watching patternPhase = iota // the bulk is told by the pass's number
	calm
	intensive
)

const (
	watchedPass = 3 // the first whose count says what one interval dirties
	// intensiveShare of the link's rate, in percent: above it the next pass
	// would not be half as long as this one.
	intensiveShare = 50
)

func (*memoryPattern) Name() string   { return "memory-pattern" }
func (*memoryPattern) Traits() Traits { return Traits{} }

func (mp *memoryPattern) Hold(p Page, m Moment) bool {
	switch {
	case m.Pass <= 1 || mp.phase == calm:
		return false
	case mp.phase == watching:
		return true
	}
	return heldByStreak(p)
}

func (mp *memoryPattern) Release(p Page, m Moment) bool {
	switch mp.phase {
	case watching:
		return false
	case intensive:
		return m.Pass > p.LastPass+1 // not written in the pass that just ended
	}
	return true
}

func (mp *memoryPattern) Decide(s Situation) Decision {
	if !s.ready() || s.Pass < watchedPass {
		return Decision{Estimate: s.Estimate()}
	}
	mp.phase = calm
	if s.intensive() {
		mp.phase = intensive
		if floor := s.floor(); floor > s.Limit() {
			return Decision{Verdict: Refuse, Estimate: s.Estimate(), Reason: refusal(s, max(floor, s.Estimate()))}
		}
	}
	return firstChance(&mp.trend, s)
}

// intensive: the last pass dirtied a large share of what the link carries.
func (s Situation) intensive() bool {
	carried := s.LinkBytesPerS * s.Dirtying.Seconds()
	return float64(s.ArrivedBytes)*s.Ratio*100 > carried*intensiveShare
}
