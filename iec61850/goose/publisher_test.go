package goose

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// sent polls whenever a frame is due, until end, and writes a line for each.
func sent(p *Publisher, end time.Duration) string {
	var lines []string
	for {
		due, ok := p.Due()
		if !ok || due > end {
			return strings.Join(lines, "\n")
		}
		f, ok := p.Poll(due)
		if !ok {
			return "nothing came when due"
		}
		lines = append(lines, fmt.Sprintf("%dms st=%d sq=%d ttl=%d", due/ms, f.PDU.StNum, f.PDU.SqNum, f.PDU.TimeAllowedToLiveMs))
	}
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	want = strings.ReplaceAll(strings.TrimSpace(want), "\t", "")
	if got != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
}

func TestAPublisherRepeatsAtIntervalsThatDoubleFromT1ToT0(t *testing.T) {
	p := NewPublisher(example(), Timing{T1: 4 * ms, T0: 50 * ms, Lives: 3})
	if _, ok := p.Poll(time.Hour); ok {
		t.Error("a frame was sent before there was a state")
	}
	p.Set(nil, 0, Timestamp{})
	check(t, "after the first state", sent(p, 200*ms), `
		0ms st=1 sq=0 ttl=12
		4ms st=1 sq=1 ttl=24
		12ms st=1 sq=2 ttl=48
		28ms st=1 sq=3 ttl=96
		60ms st=1 sq=4 ttl=150
		110ms st=1 sq=5 ttl=150
		160ms st=1 sq=6 ttl=150`)
	p.Set(nil, 205*ms, Timestamp{})
	check(t, "after a change", sent(p, 220*ms), `
		205ms st=2 sq=0 ttl=12
		209ms st=2 sq=1 ttl=24
		217ms st=2 sq=2 ttl=48`)
}

func TestAFrameBearsTheStateAndTheTimeOfItsEvent(t *testing.T) {
	p := NewPublisher(example(), Timing{T1: ms, T0: ms, Lives: 2})
	event := Timestamp{Seconds: 77}
	p.Set([]Data{{Kind: Integer, Int: 5}}, 0, event)
	p.Poll(0)
	f, ok := p.Poll(10 * ms)
	if !ok || f.PDU.T != event || len(f.PDU.AllData) != 1 || f.PDU.AllData[0].Int != 5 {
		t.Errorf("a repetition = %+v; want the event's time and data", f.PDU)
	}
	if f.APPID != example().APPID || f.PDU.GocbRef != example().PDU.GocbRef || f.PDU.ConfRev != example().PDU.ConfRev {
		t.Errorf("a repetition = %+v; want the identity of the control block", f)
	}
}

func TestALatePollSendsOneFrameAndGoesOnFromThere(t *testing.T) {
	p := NewPublisher(example(), Timing{T1: 10 * ms, T0: 10 * ms, Lives: 3})
	p.Set(nil, 0, Timestamp{})
	p.Poll(0)
	if f, ok := p.Poll(95 * ms); !ok || f.PDU.SqNum != 1 {
		t.Errorf("Poll() late = %d, %v; want frame 1", f.PDU.SqNum, ok)
	}
	check(t, "after a stall", sent(p, 120*ms), `
		105ms st=1 sq=2 ttl=30
		115ms st=1 sq=3 ttl=30`)
	if _, ok := p.Poll(120 * ms); ok {
		t.Error("a frame came before it was due")
	}
}

func TestTimeAllowedToLiveIsNeverZero(t *testing.T) {
	p := NewPublisher(example(), Timing{T1: 100 * time.Microsecond, T0: 100 * time.Microsecond, Lives: 3})
	p.Set(nil, 0, Timestamp{})
	if f, _ := p.Poll(0); f.PDU.TimeAllowedToLiveMs != 1 {
		t.Errorf("timeAllowedToLive = %d; want 1", f.PDU.TimeAllowedToLiveMs)
	}
}

func TestNumbersRollOverToOne(t *testing.T) {
	p := NewPublisher(example(), Timing{T1: ms, T0: ms, Lives: 3})
	p.frame.PDU.StNum = 1<<32 - 1
	p.Set(nil, 0, Timestamp{})
	p.frame.PDU.SqNum = 1<<32 - 1
	check(t, "at the end of both counters", sent(p, ms), `
		0ms st=1 sq=4294967295 ttl=3
		1ms st=1 sq=1 ttl=3`)
}
