package sv

// Loss counts the samples that are missing from one stream, by smpCnt.
//
// It has no clock, so it goes by the counter alone. A sample that is missing
// and comes up to half a second behind is late (reordered on its way) and is
// taken off Lost again; one that is not missing and comes up to 1/16 s behind
// came twice; any other step is a gap. A gap's whole seconds cannot be seen, since smpCnt is the same
// again; a stream that is silent for so long is noticed by a time-out.
type Loss struct {
	Rate uint16 // samples per second; smpCnt wraps there

	Received   uint64 // all that came: late, twice and out of range too
	Lost       uint64
	Late       uint64 // counted as lost before they came
	Duplicates uint64 // not late: they had come before
	OutOfRange uint64 // smpCnt of Rate or more: another rate than was configured

	next    uint16
	started bool
	missing [1 << 16 / 64]uint64 // a bit for each smpCnt that is lost
}

// Receive takes the smpCnt of a sample as it arrives.
func (l *Loss) Receive(smpCnt uint16) {
	l.Received++
	if smpCnt >= l.Rate {
		l.OutOfRange++
		return
	}
	if !l.started {
		l.started, l.next = true, l.after(smpCnt)
		return
	}
	word, bit := &l.missing[smpCnt/64], uint64(1)<<(smpCnt%64)
	switch behind := l.distance(smpCnt, l.next); {
	case behind > 0 && behind <= l.Rate/2 && *word&bit != 0:
		*word &^= bit
		l.Late++
		l.Lost--
		return
	case behind > 0 && behind <= max(1, l.Rate/16):
		l.Duplicates++ // must not hide a loss
		return
	}
	for ; l.next != smpCnt; l.next = l.after(l.next) {
		l.Lost++
		l.missing[l.next/64] |= 1 << (l.next % 64)
	}
	*word &^= bit
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
