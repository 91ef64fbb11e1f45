package policy

import "time"

// Moment is what Hold and Release know of the move beside the page.
type Moment struct {
	Pass          uint32
	Now           time.Duration // since the move began
	QueuedBytes   int64         // content that waits for the link, uncompressed
	Ratio         float64       // of what is sent to the content it stands for
	LinkBytesPerS float64       // 0: not measured yet
	Interval      time.Duration // from pass to pass, at least
}

// Backlog is how long the link needs for what is queued. Of a link that was not
// measured it is one interval.
func (m Moment) Backlog() time.Duration {
	if m.LinkBytesPerS <= 0 {
		return m.Interval
	}
	return time.Duration(float64(m.QueuedBytes) * m.Ratio / m.LinkBytesPerS * float64(time.Second))
}

// Idle: the link will have nothing to do before half of the time to the next
// pass is over. What is sent now delays nothing.
func (m Moment) Idle() bool { return m.Backlog() < m.Interval/2 }
