package gateway

import (
	"sync"
	"time"
)

// joinWait is for the answer to a COMMIT that is sent again, before the log is told of a
// source's gateway that is gone.
const joinWait = 100 * time.Millisecond

// Recommit is the source's daemon sending COMMIT again for one move, past the gateways
// and once, whoever asks for it first: the guard that misses RUNNING, or the end of a
// gateway that has committed.
type Recommit struct {
	once sync.Once
	send func() bool
	late <-chan time.Time
	done chan struct{}
	runs bool // once done
}

// NewRecommit of a move. send asks the destination's daemon whether the guest runs
// there, within a time of its own.
func NewRecommit(send func() bool) *Recommit { return &Recommit{send: send, done: make(chan struct{})} }

func (r *Recommit) begin() {
	r.once.Do(func() {
		r.late = time.After(joinWait)
		go func() {
			defer close(r.done)
			r.runs = r.send()
		}()
	})
}

// Answered tells whether the guest is known to run there.
func (r *Recommit) Answered() bool {
	r.begin()
	<-r.done
	return r.runs
}

// Soon is Answered, for one whose own answer others wait for.
func (r *Recommit) Soon() bool {
	r.begin()
	select {
	case <-r.done:
		return r.runs
	case <-r.late:
		return false
	}
}
