package pages

import "math"

// # What a page takes that is sent again
//
// A page that was sent once, and waits to be sent again, mostly goes as what has
// changed of it: what it took the first time says too much. At 200 Mbit/s an estimate
// of 1.5 s stood for 0.1 s of work, and the guest was stopped 0.2 s later than it
// could have been. So a sample of those pages is measured in each pass (Sample,
// Sampled), and the mean of the last pass's sample stands for all of them. Pages that
// are modified all the time are not among them: they come whole more often, and are
// let go last, so that they would be what is left while the mean is of the others.
// Of a page that was sent more than once, what it took last stands.
type guess struct {
	pages int // contents that wait and are guessed
	own   int // what those took the first time, in sixteenths

	now, last sample
}

// sample of pages that were measured.
type sample struct{ pages, bytes int }

// leastSample says something of the rest.
const leastSample = 32

// ratio of what is guessed.
func (g *guess) ratio() (r float64, known bool) {
	if g.last.pages < leastSample {
		return 0, false
	}
	return float64(g.last.bytes) / float64(g.last.pages*Size), true
}

// shares that what is guessed is expected to take on the link, in sixteenths.
func (g *guess) shares() float64 {
	if r, known := g.ratio(); known {
		return r * float64(g.pages*Sixteenths)
	}
	return float64(g.own)
}

// expects what an entry's content will take, now that it waits, or does so no more.
func (t *Table[Tag]) expects(e *entry[Tag], waits bool) {
	sign := -1
	if waits {
		sign, e.guessed = 1, t.guesses(e)
	}
	if e.guessed {
		t.guess.pages += sign
		t.guess.own += sign * e.expected()
	} else {
		t.shares += sign * e.expected()
	}
}

// willTake is what an entry's content would take if it waited, in sixteenths.
func (t *Table[Tag]) willTake(e *entry[Tag]) int {
	if r, known := t.guess.ratio(); known && t.guesses(e) {
		return max(1, int(math.Ceil(r*Sixteenths)))
	}
	return e.expected()
}

func (t *Table[Tag]) guesses(e *entry[Tag]) bool {
	return e.carried && !e.again && !e.history.Hot(t.pass)
}

// Sample of up to n pages that are held, whose content is guessed: each by number,
// and with the connection that keeps what was sent of it. random gives numbers from 0
// to below its argument.
func (t *Table[Tag]) Sample(n int, random func(below int) int, measure func(at, connection int)) {
	if len(t.waiting) == 0 {
		return
	}
	for range n {
		at := t.waiting[random(len(t.waiting))]
		if e := &t.entries[at]; e.state == held && e.content && e.guessed {
			measure(at, int(e.carrier))
		}
	}
}

// Sampled says that so many pages of a Sample would take so many bytes.
func (t *Table[Tag]) Sampled(pages, bytes int) {
	t.guess.now.pages += pages
	t.guess.now.bytes += bytes
}
