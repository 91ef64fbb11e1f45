package goose

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// play runs a transcript: a line "<ms> <words>" is a frame (st=, sq=, ttl=,
// conf=, sim, ndscom, other) or a "tick"; what the subscriber notices is
// written behind it.
func play(t *testing.T, s *Subscriber, script string) string {
	t.Helper()
	var out []string
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " ->")
		words := strings.Fields(line)
		at, err := time.ParseDuration(words[0])
		if err != nil {
			t.Fatal(err)
		}
		var notices []Notice
		if words[1] == "tick" {
			notices = s.Tick(at)
		} else {
			notices = s.Receive(at, frameOf(t, words[1:]))
		}
		line += " ->"
		for _, n := range notices {
			line += " " + string(n.What)
			if n.Count != 0 {
				line += fmt.Sprintf("(%d)", n.Count)
			}
		}
		if _, alive := s.Last(); !alive {
			line += " | dead"
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func frameOf(t *testing.T, words []string) Frame {
	t.Helper()
	f := Frame{PDU: PDU{GocbRef: "gcb", ConfRev: 1, TimeAllowedToLiveMs: 100}}
	for _, w := range words {
		var n uint32
		key, value, number := strings.Cut(w, "=")
		if number {
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
		}
		switch key {
		case "st":
			f.PDU.StNum = n
		case "sq":
			f.PDU.SqNum = n
		case "ttl":
			f.PDU.TimeAllowedToLiveMs = n
		case "conf":
			f.PDU.ConfRev = n
		case "sim":
			f.PDU.Simulation, f.Simulated = true, true
		case "sbit":
			f.Simulated = true
		case "ndscom":
			f.PDU.NdsCom = true
		case "other":
			f.PDU.GocbRef = "another"
		default:
			t.Fatalf("word %q", w)
		}
	}
	return f
}

func TestASubscriberNotices(t *testing.T) {
	for _, c := range []struct {
		what      string
		simulated bool
		script    string
	}{
		{"a healthy stream", false, `
			0ms tick -> | dead
			0ms st=5 sq=9 -> new-state
			10ms st=5 sq=10 -> repeated
			20ms st=6 sq=0 -> new-state
			21ms st=6 sq=1 -> repeated
			100ms tick ->`},
		{"another control block's frames", false, `
			0ms other st=1 sq=0 -> | dead
			1ms st=1 sq=0 -> new-state
			2ms other st=9 sq=0 ->`},
		{"missing frames", false, `
			0ms st=1 sq=0 -> new-state
			1ms st=1 sq=3 -> missed(2) repeated
			2ms st=2 sq=0 -> new-state
			3ms st=4 sq=0 -> missed(1) new-state
			4ms st=5 sq=2 -> missed(2) new-state`},
		{"frames out of order and twice, which change nothing", false, `
			0ms st=3 sq=4 -> new-state
			1ms st=3 sq=6 -> missed(1) repeated
			2ms st=3 sq=5 -> out-of-order
			3ms st=3 sq=6 -> out-of-order
			4ms st=2 sq=99 -> out-of-order
			5ms st=3 sq=7 -> repeated
			50ms st=2 sq=1 ttl=60000 -> out-of-order
			106ms tick -> expired | dead`},
		{"expiry, once, and life again", false, `
			0ms st=1 sq=0 ttl=30 -> new-state
			30ms tick ->
			31ms tick -> expired | dead
			32ms tick -> | dead
			40ms st=1 sq=3 -> revived repeated
			50ms st=1 sq=4 -> repeated`},
		{"expiry without a tick", false, `
			0ms st=1 sq=0 ttl=30 -> new-state
			99ms st=2 sq=0 -> expired revived new-state`},
		{"a publisher that restarted, after the stream has expired", false, `
			0ms st=40 sq=7 ttl=30 -> new-state
			10ms st=1 sq=0 -> out-of-order
			20ms st=1 sq=1 -> out-of-order
			31ms st=1 sq=2 -> expired revived new-state
			40ms st=1 sq=3 -> repeated`},
		{"a restart within the same stNum, after the stream has expired", false, `
			0ms st=1 sq=50 ttl=30 -> new-state
			40ms st=1 sq=0 -> expired revived new-state
			41ms st=1 sq=1 -> repeated`},
		{"both counters rolling over, past 0", false, `
			0ms st=4294967295 sq=4294967294 -> new-state
			1ms st=4294967295 sq=4294967295 -> repeated
			2ms st=4294967295 sq=1 -> repeated
			3ms st=4294967295 sq=4294967295 -> out-of-order
			4ms st=1 sq=0 -> new-state
			5ms st=4294967295 sq=2 -> out-of-order`},
		{"a sqNum that rolls over to 0", false, `
			0ms st=1 sq=4294967295 -> new-state
			1ms st=1 sq=0 -> repeated`},
		{"another configuration, which is not believed", false, `
			0ms st=1 sq=0 ttl=30 -> new-state
			10ms st=2 sq=0 conf=2 -> wrong-conf-rev
			31ms tick -> expired | dead`},
		{"a publisher that needs commissioning", false, `
			0ms st=1 sq=0 ndscom -> needs-commission new-state
			1ms st=1 sq=1 -> repeated`},
		{"simulated frames, which are not believed", false, `
			0ms st=1 sq=0 ttl=30 -> new-state
			1ms st=9 sq=0 sim -> simulation-ignored
			2ms st=9 sq=0 sbit -> simulation-ignored
			31ms tick -> expired | dead`},
		{"real frames while it simulates", true, `
			0ms st=1 sq=0 -> simulation-ignored | dead
			1ms st=9 sq=0 sim -> new-state
			2ms st=1 sq=1 -> simulation-ignored
			3ms st=9 sq=1 sim -> repeated`},
	} {
		t.Run(c.what, func(t *testing.T) {
			s := &Subscriber{GocbRef: "gcb", ConfRev: 1, Simulated: c.simulated}
			check(t, c.what, play(t, s, c.script), c.script)
		})
	}
}

func TestASubscriberKeepsTheNewestState(t *testing.T) {
	s := &Subscriber{GocbRef: "gcb", ConfRev: 1}
	play(t, s, `
		0ms st=3 sq=0
		1ms st=2 sq=0
		2ms st=3 sq=1
		3ms st=7 sq=0 sim
		4ms st=8 sq=0 conf=2`)
	if p, alive := s.Last(); p.StNum != 3 || p.SqNum != 1 || !alive {
		t.Errorf("Last() = st %d sq %d, %v; want 3, 1, alive", p.StNum, p.SqNum, alive)
	}
}

func TestAPublishersFramesAreUnderstood(t *testing.T) {
	p := NewPublisher(Frame{PDU: PDU{GocbRef: "gcb", ConfRev: 1}}, Timing{T1: 2 * ms, T0: 100 * ms, Lives: 3})
	s := &Subscriber{GocbRef: "gcb", ConfRev: 1}
	var got []string
	for now := time.Duration(0); now < 2*time.Second; now += ms {
		if now%(500*ms) == 0 {
			p.Set(nil, now, Timestamp{})
		}
		if f, ok := p.Poll(now); ok {
			for _, n := range s.Receive(now, f) {
				if n.What != Repeated {
					got = append(got, string(n.What))
				}
			}
		}
		for _, n := range s.Tick(now) {
			got = append(got, string(n.What))
		}
	}
	if strings.Join(got, " ") != "new-state new-state new-state new-state" {
		t.Errorf("notices = %v; want four new states and nothing else", got)
	}
}
