package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// maxLine bounds a line on standard input.
const maxLine = 1 << 20

// command is a line on standard input after the configuration.
type command struct {
	Command string `json:"command"` // go, no, abort, runs; on, for tests
	Reason  string `json:"reason,omitempty"`
}

// Main runs a gateway as a process: the configuration is the first line of in (a
// source's second one, where it is Expected), commands follow it, and every line of out is an Event; the last one bears the
// Result. The end of in is "abort": a gateway must not outlive the daemon that
// answers for it, until it has committed. The exit status is 0 for Moved and
// Recorded.
func Main(role string, in io.Reader, out io.Writer) int {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	// The daemon may be gone when a line is written: its pipe is broken then,
	// and Go ends a program that writes to a broken standard output unless the
	// signal is ignored (os/signal). A guest that is stopped would stay so.
	signal.Ignore(syscall.SIGPIPE)
	slackTimers(timerSlack)
	p := newProcess(out)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	config, expected := configuration(role, lines)
	if config == nil {
		return p.end(Result{Outcome: Failed, Reason: "no configuration on standard input"})
	}
	go p.listen(lines, cancel)
	var result Result
	var err error
	switch role {
	case "source":
		var c SourceConfig
		if err = decode(config, &c); err == nil {
			var ask Asker
			if c.AskToStop {
				ask = p.ask
			}
			c.on, c.runs, c.expected = p.on, p.runs, expected
			result, err = RunSource(ctx, c, p.report, ask)
		}
	case "destination":
		var c DestinationConfig
		if err = decode(config, &c); err == nil {
			c.on = p.on
			result, err = RunDestination(ctx, c, p.report)
		}
	case "trace":
		var c TraceConfig
		if err = decode(config, &c); err == nil {
			result, err = RunTrace(ctx, c, p.report)
		}
	default:
		err = fmt.Errorf("gateway %q: want source, destination or trace", role)
	}
	if err != nil {
		result = Result{Outcome: Failed, Reason: err.Error()}
	}
	return p.end(result)
}

// configuration is the line with it, nil if none comes; and a lookout where the line
// before said that a move is Expected.
func configuration(role string, lines *bufio.Scanner) (config []byte, expected *lookout) {
	if !lines.Scan() {
		return nil, nil
	}
	var e Expected
	if role == "source" && json.Unmarshal(lines.Bytes(), &e) == nil && e.PID > 0 {
		expected = expect(e)
		if !lines.Scan() {
			return nil, nil
		}
	}
	return append([]byte(nil), lines.Bytes()...), expected
}

func decode(line []byte, into any) error {
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("read the gateway's configuration: %w", err)
	}
	return nil
}

// lineBacklog bounds the lines that the daemon has not read: progress that
// does not fit is dropped. A guest may be stopped when a line is written, so
// that no line may wait for its reader.
const lineBacklog = 1024

// lastLineWait is for the daemon to read the result.
const lastLineWait = 5 * time.Second

type process struct {
	lines   chan Event
	last    chan Event
	written chan struct{} // closed when the last line was written
	answers chan command
	on      chan struct{} // ends a pause, for tests
	runs    chan struct{} // the guest runs at the destination
	asked   atomic.Bool   // an answer is waited for
}

func newProcess(out io.Writer) *process {
	p := &process{lines: make(chan Event, lineBacklog), last: make(chan Event, 1), written: make(chan struct{}), answers: make(chan command, 1), on: make(chan struct{}, 1), runs: make(chan struct{}, 1)}
	go p.write(json.NewEncoder(out))
	return p
}

// write writes the lines; a reader that went away does not stop a move.
func (p *process) write(out *json.Encoder) {
	defer close(p.written)
	for {
		select {
		case e := <-p.lines:
			_ = out.Encode(e)
		case e := <-p.last:
			for len(p.lines) > 0 {
				_ = out.Encode(<-p.lines)
			}
			_ = out.Encode(e)
			return
		}
	}
}

func (p *process) report(e Event) {
	if e.Phase == AskingStop {
		p.asked.Store(true)
	}
	select {
	case p.lines <- e:
	default:
	}
}

func (p *process) end(r Result) int {
	p.last <- Event{Result: &r}
	timer := time.NewTimer(lastLineWait)
	defer timer.Stop()
	select {
	case <-p.written:
	case <-timer.C:
	}
	if r.Outcome == Moved || r.Outcome == Recorded {
		return 0
	}
	return 1
}

func (p *process) listen(lines *bufio.Scanner, cancel context.CancelCauseFunc) {
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			continue
		}
		if c.Command == "abort" {
			cancel(errors.New("aborted by the daemon: " + c.Reason))
			continue
		}
		if to, ok := map[string]chan struct{}{"on": p.on, "runs": p.runs}[c.Command]; ok {
			select {
			case to <- struct{}{}:
			default: // once is enough
			}
			continue
		}
		if p.asked.Swap(false) { // an early "go" must not count later
			select {
			case p.answers <- c:
			default: // the last one was not taken: the move is over
			}
		}
	}
	cancel(errors.New("the daemon is gone"))
}

// ask waits for the daemon's answer to the phase about-to-stop.
func (p *process) ask(ctx context.Context) error {
	select {
	case c := <-p.answers:
		if c.Command == "go" {
			return nil
		}
		return errors.New(c.Reason)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
