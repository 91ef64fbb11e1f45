package policy

import "time"

// course is how an estimate has come along: what waiting brings.
type course struct {
	points    [courseLength]point // newest first
	n         int
	began     time.Duration // at of the first point
	best      point         // the last that was well below the one before it
	sinceBest int           // passes
}

type point struct{ at, estimate time.Duration }

const (
	courseLength = 8
	courseWindow = 100 * time.Millisecond

	// Slopes by which an estimate falls: 1 when it falls as fast as time passes.
	payingSlope  = 0.4
	hopefulSlope = 0.2

	// noise: a fall of less than one part of so many says nothing.
	noise = 20

	hopelessAfter  = 500 * time.Millisecond
	hopelessPasses = 3
)

func (c *course) add(at, estimate time.Duration) {
	copy(c.points[1:], c.points[:])
	c.points[0] = point{at, estimate}
	c.n = min(c.n+1, courseLength)
	if c.n == 1 {
		c.began = at
	}
	if c.n == 1 || estimate < c.best.estimate-c.best.estimate/noise && c.fallenBy(c.best) >= hopefulSlope {
		c.best, c.sinceBest = c.points[0], 0
	} else {
		c.sinceBest++
	}
}

// fallenBy is the slope from a point to the newest one.
func (c *course) fallenBy(from point) float64 {
	return float64(from.estimate-c.points[0].estimate) / float64(max(c.points[0].at-from.at, 1))
}

// pays: the estimate falls quickly, or nobody knows yet. It looks back over the
// window, or at one pass if that took longer.
func (c *course) pays() bool {
	for i := 1; i < c.n; i++ {
		if c.points[0].at-c.points[i].at >= courseWindow || i == courseLength-1 {
			return c.fallenBy(c.points[i]) >= payingSlope
		}
	}
	return true
}

// was within the limit lately: it will be again.
func (c *course) was(limit time.Duration) bool {
	for _, p := range c.points[:c.n] {
		if p.estimate <= limit {
			return true
		}
	}
	return false
}

// rises: the newest estimate is well above the one before.
func (c *course) rises() bool {
	return c.n > 1 && c.points[0].estimate > c.points[1].estimate+c.points[1].estimate/noise
}

// tooLate: nearly twice the time of the first pass is over, or will be at the next
// look, and at the pace of the last passes half of that time more would not bring
// the estimate to limit. A pass takes long where a hot set waits for the link: 0.7 s
// of a first pass of 1.9 s.
func (c *course) tooLate(limit time.Duration) bool {
	now, oldest := c.points[0], c.points[c.n-1]
	if now.at == oldest.at {
		return false
	}
	next := now.at + now.at - c.points[1].at
	if next < c.began+max(c.began*9/10, hopelessAfter) {
		return false
	}
	return c.fallenBy(oldest)*float64(c.began/2) < float64(now.estimate-limit)
}

// hopeless: it has not fallen for long.
func (c *course) hopeless() bool {
	return c.sinceBest >= hopelessPasses && c.points[0].at-c.best.at >= hopelessAfter
}
