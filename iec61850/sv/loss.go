package sv

// Loss counts the samples that are missing from one stream, by smpCnt. A late
// sample (reordered on its way) is taken off the count again.
type Loss struct {
	Rate uint16 // samples per second; smpCnt wraps there

	Received uint64
	Lost     uint64
	next     uint16
	started  bool
}

// Receive takes the smpCnt of a sample as it arrives.
func (l *Loss) Receive(smpCnt uint16) {
	l.Received++
	if !l.started {
		l.started, l.next = true, l.after(smpCnt)
		return
	}
	ahead := l.distance(l.next, smpCnt)
	if ahead > l.Rate/2 { // behind: a late one
		if l.Lost > 0 {
			l.Lost--
		}
		return
	}
	l.Lost += uint64(ahead)
	l.next = l.after(smpCnt)
}

func (l *Loss) after(n uint16) uint16 {
	if n+1 >= l.Rate {
		return 0
	}
	return n + 1
}

func (l *Loss) distance(from, to uint16) uint16 {
	if to >= from {
		return to - from
	}
	return l.Rate - from + to
}
