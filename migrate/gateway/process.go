package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxLine bounds a line on standard input.
const maxLine = 1 << 20

// command is a line on standard input after the configuration.
type command struct {
	Command string `json:"command"` // go, no, abort
	Reason  string `json:"reason,omitempty"`
}

// Main runs a gateway as a process: the configuration is the first line of in,
// commands follow it, and every line of out is an Event; the last one bears the
// Result. The end of in is "abort": a gateway must not outlive the daemon that
// answers for it, until it has committed. The exit status is 0 for Moved.
func Main(role string, in io.Reader, out io.Writer) int {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	p := process{out: json.NewEncoder(out), answers: make(chan command, 1)}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	if !lines.Scan() {
		return p.end(Result{Outcome: Failed, Reason: "no configuration on standard input"})
	}
	config := append([]byte(nil), lines.Bytes()...)
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
			result, err = RunSource(ctx, c, p.report, ask)
		}
	case "destination":
		var c DestinationConfig
		if err = decode(config, &c); err == nil {
			result, err = RunDestination(ctx, c, p.report)
		}
	default:
		err = fmt.Errorf("gateway %q: want source or destination", role)
	}
	if err != nil {
		result = Result{Outcome: Failed, Reason: err.Error()}
	}
	return p.end(result)
}

func decode(line []byte, into any) error {
	if err := json.Unmarshal(line, into); err != nil {
		return fmt.Errorf("read the gateway's configuration: %w", err)
	}
	return nil
}

type process struct {
	mu      sync.Mutex
	out     *json.Encoder
	answers chan command
}

func (p *process) report(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.out.Encode(e) // a reader that went away does not stop a move
}

func (p *process) end(r Result) int {
	p.report(Event{Result: &r})
	if r.Outcome == Moved {
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
		select {
		case p.answers <- c:
		default: // an answer that nobody asked for
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
