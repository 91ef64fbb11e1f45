package policy

import "time"

// trend watches an estimate from pass to pass.
type trend struct {
	best       time.Duration
	sinceBest  int // passes since best was last improved by a tenth
	seen       bool
	passesOver int // passes with an estimate over the limit
}

// refusalPatience in passes: how many must bring nothing before a move counts as
// hopeless. A pass takes at least the gateway's pass interval.
const refusalPatience = 6

func (t *trend) add(e, limit time.Duration) {
	if !t.seen || e < t.best-t.best/10 {
		t.best, t.sinceBest, t.seen = e, 0, true
	} else {
		t.sinceBest++
	}
	if e > limit {
		t.passesOver++
	}
}

// hopeless: over the limit again and again, and no better for long.
func (t *trend) hopeless() bool {
	return t.passesOver >= refusalPatience && t.sinceBest >= refusalPatience
}
