package gateway

import (
	"sync"
	"time"

	"bumpless/migrate/link"
)

// ladder chooses how hard to compress, move by move, from what is seen to be
// slow: a rung better while batches wait for the link; a rung faster when they
// have waited for the compressor for long, and only if that brings something:
// bytes are dear, and a small guest is soon through. Only windows count in which
// more was waiting to be sent: an idle link looks fast. And the link is slow only
// where a batch finds the kernel still busy with the one before: where guests take all
// of the CPU time, writing takes long, too. At 200 Mbit/s it ends at
// libzstd 3, at 1 Gbit/s at libzstd 1, at 10 Gbit/s at no compression.
type ladder struct {
	turn sync.Mutex // one batch at a time: a move takes no more than one core from the guests

	mu     sync.Mutex
	effort link.Effort
	window window
	rate   float64 // content bytes per second on this rung, smoothed
	hasty  float64 // content bytes per second of compressing with link.Hasty, when last seen

	patience int     // windows that must wait for the compressor before a faster rung is tried
	waited   int     // windows that did
	trial    int     // windows until a faster rung must have shown its worth
	before   float64 // rate on the rung below
}

// window of at least ladderWindow bytes of content.
type window struct {
	batches     int
	behind      int // of them: those that found the link busy with the one before
	content     int64
	packed      int64 // that it was written as
	compressing time.Duration
	busy        time.Duration // of all senders: compressing, waiting for a turn, writing
}

func newLadder() *ladder { return &ladder{effort: link.Usual, patience: ladderPatience} }

func (l *ladder) now() link.Effort {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.effort
}

// compress also says how long it took, without the wait for its turn.
func (l *ladder) compress(c *link.Compressor, body []byte) (out []byte, codec link.Codec, took time.Duration) {
	effort := l.now()
	if effort == link.None {
		return body, link.Plain, 0
	}
	l.turn.Lock()
	defer l.turn.Unlock()
	begun := time.Now()
	out, codec = c.Compress(body, effort)
	return out, codec, time.Since(begun)
}

const (
	ladderWindow   = 1 << 20 // bytes
	ladderPatience = 32      // windows
	ladderTrial    = 8       // windows
	worthwhile     = 1.1     // times the rate
	// The shares of the time that compression takes. Between them all stays as
	// it is.
	compressorIsSlow = 0.85
	linkIsSlow       = 0.6 // with the next better rung
	// Of the batches that were behind: what is less says that the link waits for us.
	// It is 0.9 to 1 at 200 Mbit/s, 0.1 at 1 Gbit/s beside a guest that takes a core of
	// two.
	linkWaits = 0.5
	// link.Thorough takes more than twice the CPU time for 2 % of the bytes.
	linkIsVerySlow = 0.35 // with link.Thorough
	// And link.Thorough pays on slow links only: per byte of content it takes 3.5 ns
	// more of a core than link.Usual, and saves the link 0.018 bytes: 0.7 ns at 200
	// Mbit/s, 0.14 ns at 1 Gbit/s. What does not compress at all looks cheap with any.
	thoroughBytesPerS = 40e6
)

// sent notes a batch that one of so many senders has written while more was
// waiting: content bytes as packed bytes, of which the compression took
// compressing, and all of it busy; behind: the link had not sent the one before.
func (l *ladder) sent(senders, content, packed int, compressing, busy time.Duration, behind bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := &l.window
	w.content += int64(content)
	w.packed += int64(packed)
	w.compressing += compressing
	w.busy += busy
	w.batches++
	if behind {
		w.behind++
	}
	if w.content < ladderWindow || w.busy <= 0 {
		return
	}
	wall := w.busy.Seconds() / float64(senders)
	l.weigh(float64(w.content)/wall, float64(w.packed)/wall, w.compressing.Seconds()/wall, float64(w.behind)/float64(w.batches))
	l.window = window{}
}

// weigh a window: the rates of content and on the link, the share of the time that
// compression took, and that of the batches that were behind.
func (l *ladder) weigh(rate, onLink, share, behind float64) {
	if l.rate == 0 {
		l.rate = rate
	}
	l.rate += smoothing * (rate - l.rate)
	switch {
	case l.effort == link.Hasty && share > 0:
		l.hasty = rate / share
	case l.effort == link.None:
		share = rate / l.hasty // of link.Hasty, if it carried the same
	}
	switch {
	case l.trial > 0:
		if l.trial--; l.trial == 0 && l.rate < worthwhile*l.before {
			l.step(l.effort - 1)
			l.patience *= 2
		}
	case share > compressorIsSlow && l.effort < link.None:
		if l.waited++; l.waited >= l.patience {
			before := l.rate
			l.step(l.effort + 1)
			l.trial, l.before = ladderTrial, before
		}
	case behind < linkWaits && l.effort == link.Thorough:
		l.step(link.Usual)
	case behind < linkWaits:
		l.waited = 0
	case share*l.effort.Slowdown() < linkIsSlow && l.effort > link.Usual,
		share*l.effort.Slowdown() < linkIsVerySlow && l.effort == link.Usual && onLink < thoroughBytesPerS:
		l.step(l.effort - 1)
	default:
		l.waited = 0
	}
}

func (l *ladder) step(to link.Effort) { l.effort, l.rate, l.waited = to, 0, 0 }
