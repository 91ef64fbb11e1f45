package policy

import "time"

// order p of the autoregressive model: how many intervals it looks back.
const order = 3

// Gaps models the intervals x between a page's modifications as AR(p), p = 3:
//
//	x[n] = w1 x[n-1] + w2 x[n-2] + w3 x[n-3]
//
// in 12 bytes for each page and in whole numbers: three intervals in
// milliseconds, from 1 to 65535 (65.5 s, saturating), and three weights in units
// of 2^-14. The weights start at a third each, which is a moving average, and
// follow the page by normalised least mean squares (Widrow and Hoff; Haykin,
// Adaptive Filter Theory), a fitting that needs no more memory than the weights.
//
// Intervals are seen through passes: two writes between two looks are one.
type Gaps struct {
	ms    [order]uint16 // newest first; 0: not seen yet
	drift [order]int16  // of each weight from a third, 2^-14
}

const (
	weightBits = 14
	third      = (1<<weightBits + order/2) / order
	maxDrift   = 1 << weightBits // keeps a weight within -2/3 and 4/3
	stepBits   = 2               // step of the fitting: a quarter
)

// Add notes an interval: the model learns from it, then looks back on it.
func (g Gaps) Add(gap time.Duration) Gaps {
	x := uint16(min(max(gap.Milliseconds(), 1), 1<<16-1))
	if g.ms[order-1] != 0 {
		g.fit(int64(x))
	}
	copy(g.ms[1:], g.ms[:order-1])
	g.ms[0] = x
	return g
}

func (g *Gaps) fit(x int64) {
	miss, power := x-g.predict(), int64(0)
	for _, v := range g.ms {
		power += int64(v) * int64(v)
	}
	for i, v := range g.ms {
		step := (miss * int64(v) << (weightBits - stepBits)) / power
		g.drift[i] = int16(min(max(int64(g.drift[i])+step, -maxDrift), maxDrift))
	}
}

// predict the next interval in ms; all of ms are known.
func (g *Gaps) predict() int64 {
	var sum int64
	for i, v := range g.ms {
		sum += (third + int64(g.drift[i])) * int64(v)
	}
	return min(max((sum+1<<(weightBits-1))>>weightBits, 1), 1<<16-1)
}

// Next is the predicted interval between the last modification and the next
// one; 0: nothing is known. Until there are p intervals it is their mean.
func (g Gaps) Next() time.Duration {
	if g.ms[order-1] != 0 {
		return time.Duration(g.predict()) * time.Millisecond
	}
	sum, n := 0, 0
	for _, v := range g.ms {
		if v != 0 {
			sum, n = sum+int(v), n+1
		}
	}
	return time.Duration(sum/max(n, 1)) * time.Millisecond
}
