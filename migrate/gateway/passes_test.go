package gateway

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"bumpless/migrate/policy/policytest"
	"bumpless/migrate/stream"
)

// ages reads a source's passes and returns, of each but the first two, how old
// the clock was that it brought.
func ages(t *testing.T, intervalMs, passes int) (list []time.Duration) {
	t.Helper()
	q := newFake(t, "running")
	q.clock = true
	ours, theirs, err := socketPair()
	must(t, err)
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	go q.send(theirs)
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	s := &source{cfg: SourceConfig{PassIntervalMs: intervalMs}, policy: rule{}, pipe: ours, send: &sender{}, hurry: make(chan struct{}), began: time.Now()}
	s.report = func(e Event) {
		clock := binary.BigEndian.Uint32(s.table.data[1][:]) - 1
		if e.Pass.Number > 2 {
			list = append(list, time.Since(epoch)-time.Duration(clock)*time.Millisecond)
		}
	}
	r := stream.NewReader(ours, streamBuffer)
	p := newPasses(s, r)
	for len(list) < passes {
		record, err := r.Next()
		must(t, err)
		switch record.Kind {
		case stream.RAMStart:
			s.table = newTable(rule{Holds: policytest.Always}, h, record.Blocks, 1000, nil)
			s.passes.Store(1)
		case stream.Page:
			must(t, p.page(record))
		case stream.SectionEnd:
			must(t, p.sectionEnd())
		}
	}
	return list
}

// QEMU looks for dirty pages long before it is asked for more, and the pipe holds
// the findings of many looks. What a pass brings must be what the guest wrote
// just before it ends: whatever is older comes once more with the stop.
func TestAPassBringsWhatTheGuestWroteJustNow(t *testing.T) {
	const interval = 100
	list := ages(t, interval, 7)
	slices.Sort(list)
	if median := list[len(list)/2]; median > interval/2*time.Millisecond {
		t.Errorf("what passes brought was %v old; want well below the %d ms between two of them", list, interval)
	}
}

func TestAPassIsNotWaitedForWhenThatIsEnough(t *testing.T) {
	ours, theirs, err := socketPair()
	must(t, err)
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	p := newPasses(&source{pipe: ours, hurry: make(chan struct{})}, stream.NewReader(ours, streamBuffer))
	asked, begun := 0, time.Now()
	p.wait(time.Minute, func() bool { asked++; return asked == 3 })
	if took := time.Since(begun); asked != 3 || took > 20*time.Second {
		t.Errorf("wait() asked %d times and took %v; want 3, and no minute", asked, took)
	}
}
