package node

import (
	"testing"
	"time"
)

func TestAGuestIsHeardWhenItsFirstFrameIsMoreThanAPeriodLate(t *testing.T) {
	since := time.Now()
	every := func(first, period time.Duration, n int) (f frameTimes) {
		for i := range n {
			f.add(since.Add(first + time.Duration(i)*period))
		}
		return f
	}
	const ms = time.Millisecond
	for _, c := range []struct {
		name   string
		frames frameTimes
		want   int
		ok     bool
	}{
		{"GOOSE every 10 ms", every(70*ms, 10*ms, 40), 60, true},
		{"Sampled Values", every(5*ms, 250*time.Microsecond, 2000), 4, true},
		{"it was running before it was said to", every(-3*ms, 10*ms, 40), 0, true},
		{"within its period", every(8*ms, 10*ms, 40), 0, true},
		{"it sends seldom: it may have had nothing to say", every(400*ms, 100*ms, 5), 0, false},
		{"silence", frameTimes{}, 0, false},
	} {
		if got, ok := c.frames.waking(since); got != c.want || ok != c.ok {
			t.Errorf("%s: waking() = %d, %v; want %d, %v", c.name, got, ok, c.want, c.ok)
		}
	}
}
