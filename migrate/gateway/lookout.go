package gateway

import (
	"os"
	"time"
)

// Expected is the line before a source's configuration where the move is known before
// its destination listens: the gateway looks for the guest's hot spots meanwhile. It
// does nothing else, and can be ended at any time.
type Expected struct {
	PID int `json:"expected_pid"` // of the guest's QEMU
}

// lookEvery is how often a lookout looks at the guest's memory: what a guest has not
// written for longer than one to two of them is not a hot spot.
const lookEvery = 500 * time.Millisecond

// lookout looks for a guest's hot spots until its stream begins, and holds its memory
// file meanwhile.
type lookout struct {
	pid    int
	memory *memoryFile
	stop   chan struct{}
	looked chan looked
}

// looked is what was found of a guest's hot spots.
type looked struct {
	spots *hotspots
	err   error
}

// startLookout at the memory of the process; nil: it shares none.
func startLookout(pid int, every time.Duration) (*lookout, error) {
	memory, err := openMemory(pid, os.O_RDONLY)
	if memory == nil || err != nil {
		return nil, err
	}
	l := &lookout{pid: pid, memory: memory, stop: make(chan struct{}), looked: make(chan looked, 1)}
	go func() { l.looked <- l.watch(every) }()
	return l, nil
}

// watch until it is enough. The last look but one is what counts where there is one: a
// guest that writes somewhere once in a while would not be seen by one that was just
// taken, and by one that is old nearly everything is.
func (l *lookout) watch(every time.Duration) looked {
	var before, last looked
	for {
		before = last
		if last.spots, last.err = lookForHotspots(l.memory); last.err != nil {
			return last
		}
		select {
		case <-l.stop:
			if before.spots == nil {
				return last
			}
			return before
		case <-time.After(every):
		}
	}
}

// end of the looking: what it found.
func (l *lookout) end() (*hotspots, error) {
	close(l.stop)
	found := <-l.looked
	return found.spots, found.err
}

// discard a lookout that nobody needs, or none.
func (l *lookout) discard() {
	if l != nil {
		close(l.stop)
		<-l.looked
		l.memory.close()
	}
}

// expect a move: an error is told when the move needs what could not be read.
func expect(e Expected) *lookout {
	l, _ := startLookout(e.PID, lookEvery)
	return l
}

// takeLookout of the guest; none for a policy that does not read ahead.
func (s *source) takeLookout() (*lookout, error) {
	if !s.policy.Traits().ReadAhead {
		s.lookout.discard()
		return nil, nil
	}
	return lookoutAt(s.qemu.PeerPID(), s.lookout)
}

// lookoutAt the memory of the process: the one that was expected, if it is of that
// process, or another one.
func lookoutAt(pid int, expected *lookout) (*lookout, error) {
	if expected != nil && expected.pid == pid {
		return expected, nil
	}
	expected.discard()
	return startLookout(pid, lookEvery)
}
