package gateway

import (
	"sync/atomic"
	"testing"
)

func TestCommitIsSentAgainOnceWhoeverAsks(t *testing.T) {
	var sent atomic.Int32
	r := NewRecommit(func() bool { sent.Add(1); return true })
	for i, ask := range []func() bool{r.Answered, r.Soon, r.Answered} {
		if !ask() {
			t.Errorf("asked %d times before, it does not run; want the answer", i)
		}
	}
	if sent.Load() != 1 {
		t.Errorf("COMMIT was sent again %d times; want once", sent.Load())
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
