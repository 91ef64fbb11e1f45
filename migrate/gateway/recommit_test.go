package gateway

import (
	"sync/atomic"
	"testing"
)

func TestCommitIsSentAgainOnceWhoeverAsks(t *testing.T) {
	var sent atomic.Int32
	r := NewRecommit(func() bool { sent.Add(1); return true })
	if !r.Answered() || !r.Answered() || !r.Soon() || sent.Load() != 1 {
		t.Errorf("COMMIT was sent again %d times, or its answer was lost; want once", sent.Load())
	}
}

func TestAnAnswerThatOthersWaitForIsNotWaitedForLong(t *testing.T) {
	answer := make(chan bool)
	r := NewRecommit(func() bool { return <-answer })
	if r.Soon() {
		t.Error("Soon() = true; want false, nothing was answered")
	}
	answer <- true
	if !r.Answered() {
		t.Error("Answered() = false; want the answer, late as it is")
	}
}
