package gateway

import (
	"context"
	"fmt"
	"time"

	"bumpless/migrate/policy"
)

// Asker answers whether the guest may be stopped now: the daemon checks its
// lease, the quorum and the other protection.
type Asker func(ctx context.Context) error

// leave to stop the guest. Passes go on while the daemon is asked, since what
// the guest has dirtied by the time of a late answer would be carried with the
// guest stopped.
type leave struct {
	answer  chan error
	asking  bool
	granted time.Time
}

const (
	askWait = 2 * time.Minute // for the answer: it may run a program of the site's
	// LeaseCovers is for how long behind a yes the host's lease covers a stop of the
	// whole budget (core: PetInterval). A host whose lease ends kills its guests.
	LeaseCovers = 500 * time.Millisecond
	// leaveLasts is how long a yes is good for: the last looks come behind it.
	leaveLasts = LeaseCovers - 2*lastLookWait
)

// mayStop tells whether the guest may be stopped now, and asks if nobody has.
// over: the move has been given up.
func (s *source) mayStop(ctx context.Context, d policy.Decision) (stop, over bool) {
	s.result.EstimateMs = ms(d.Estimate)
	if !s.leave.asking && time.Since(s.leave.granted) > leaveLasts {
		s.send.shrink()
		if !s.getsThrough(ctx, catchUpWait, 0) || !s.caughtUp(ctx, catchUpWait) {
			return false, true
		}
		s.startWatching() // the answer may take long
		s.askToStop(ctx)
	}
	if !s.leave.asking {
		return true, false
	}
	timer := time.NewTimer(policy.AskPatience)
	defer timer.Stop()
	select {
	case err := <-s.leave.answer:
		granted := s.answered(err)
		return granted, !granted
	case <-timer.C:
		return false, false
	}
}

// mayStillStop takes the last looks before the stop, at both ends, the disks and the
// link, and then at the time that they took: the monitor may have been slow. over: the
// move has been given up.
func (s *source) mayStillStop(ctx context.Context) (stop, over bool) {
	if !s.whole() || !s.caughtUp(ctx, lastLookWait) || !s.getsThrough(ctx, lastLookWait, 1) {
		return false, true
	}
	return time.Since(s.leave.granted) <= LeaseCovers, false
}

func (s *source) askToStop(ctx context.Context) {
	s.leave.asking = true
	s.phase(AskingStop)
	if s.ask == nil {
		s.leave.answer <- nil
		return
	}
	go func() {
		within, cancel := context.WithTimeout(ctx, askWait)
		defer cancel()
		err := s.ask(within)
		if ctx.Err() == nil { // else the move is over, and says why
			s.leave.answer <- err
		}
	}()
}

// getsThrough tells whether the guest may be stopped as far as the link goes: of
// two LANs one may be dead, and the other one has sent nearly all. It waits for
// an answer on each connection that has had more time-outs than are allowed. The
// drain would wait for it with the guest stopped, and end in a roll-back.
func (s *source) getsThrough(ctx context.Context, wait time.Duration, allowed int) bool {
	end := time.Now().Add(wait)
	err := every(ctx, catchUpPoll, "the link was not answering", func() (bool, error) {
		stalled := s.send.stalled(allowed)
		if stalled != "" && time.Now().After(end) {
			return false, brokenLink{fmt.Errorf("the connection to %s does not get through: look at that LAN", stalled)}
		}
		return stalled == "", nil
	})
	if err != nil {
		s.giveUp(Failed, s.why(err))
	}
	return err == nil
}

// answered takes in the daemon's answer; a no ends the move before the guest is
// touched.
func (s *source) answered(err error) (granted bool) {
	s.leave.asking = false
	if err != nil {
		s.giveUp(Refused, fmt.Errorf("the stop was not allowed: %w", err))
		return false
	}
	s.leave.granted = time.Now()
	return true
}
