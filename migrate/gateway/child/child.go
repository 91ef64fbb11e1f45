// Package child is the parent's end of a gateway that runs as a process of its own,
// `bumpless gateway ROLE` (gateway.Main): so its memory, its garbage collection and its
// end are not the parent's. It is given lines of JSON, and says lines of JSON.
package child

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"bumpless/migrate/gateway"
)

// maxLine bounds one line of a gateway's output, in bytes. One that says more is killed.
const maxLine = 1 << 20

// Gateway that was started, and waits for Begin.
type Gateway struct {
	Cmd  *exec.Cmd
	Done chan struct{} // closed when it has ended, and its last line was handed on

	// Once Done is closed.
	Result  *gateway.Result // what its last line said; nil: it ended without a word
	Garbled error           // of its first line that was not understood; nil: all were

	role  string
	stdin io.WriteCloser
	saw   atomic.Pointer[func(gateway.Event)] // from Begin on
}

// Start a gateway: source, destination or trace. What it logs is appended to ROLE.log
// in dir. start starts the command, in the network that the gateway is to be in, for
// instance; nil: here.
func Start(binary, role, dir string, start func(*exec.Cmd) error) (*Gateway, error) {
	g := &Gateway{Cmd: exec.Command(binary, "gateway", role), Done: make(chan struct{}), role: role}
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := g.start(filepath.Join(dir, role+".log"), start); err != nil {
		return nil, fmt.Errorf("start the %s gateway: %w", role, err)
	}
	return g, nil
}

func (g *Gateway) start(log string, start func(*exec.Cmd) error) error {
	stderr, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer stderr.Close()
	g.Cmd.Stderr = stderr
	// A signal to the parent's group, from a terminal, is the parent's: it lets go.
	g.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g.stdin, err = g.Cmd.StdinPipe(); err != nil {
		return err
	}
	stdout, err := g.Cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := start(g.Cmd); err != nil {
		return err
	}
	go g.follow(stdout)
	return nil
}

func (g *Gateway) follow(stdout io.Reader) {
	defer close(g.Done)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		if saw := g.saw.Load(); saw != nil { // else it has not begun
			g.hear(lines.Bytes(), *saw)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		g.Kill()
	}
	_ = g.Cmd.Wait() // its last line says how it ended
}

// hear a line.
func (g *Gateway) hear(line []byte, saw func(gateway.Event)) {
	var e gateway.Event
	if err := json.Unmarshal(line, &e); err != nil {
		if g.Garbled == nil {
			g.Garbled = fmt.Errorf("a line of the %s gateway is not understood: %w", g.role, err)
		}
		return
	}
	if e.Result != nil && e.Phase == "" {
		g.Result = e.Result
	}
	saw(e)
}

// Expect tells a source's gateway of a move whose destination is being prepared.
func (g *Gateway) Expect(e gateway.Expected) error { return g.hand(e) }

// Begin hands it its configuration. saw is called with each event that it tells from now
// on, in order, from one goroutine, which has returned before Done is closed.
func (g *Gateway) Begin(config any, saw func(gateway.Event)) error {
	g.saw.Store(&saw)
	return g.hand(config)
}

// hand a line to it, or end it.
func (g *Gateway) hand(what any) error {
	line, err := json.Marshal(what)
	if err == nil {
		_, err = g.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		g.End()
		return fmt.Errorf("start the %s gateway: hand it its configuration: %w", g.role, err)
	}
	return nil
}

// Say a command of one word. One that has ended does not hear it: its end tells of that.
func (g *Gateway) Say(word string) { g.command(word, "") }

// Refuse answers that the guest may not be stopped.
func (g *Gateway) Refuse(why string) { g.command("no", why) }

func (g *Gateway) command(word, reason string) {
	if line, err := json.Marshal(map[string]string{"command": word, "reason": reason}); err == nil { // strings always can
		_, _ = g.stdin.Write(append(line, '\n'))
	}
}

// LetGo is the parent's end: one that has not committed gives up. Twice is harmless.
func (g *Gateway) LetGo() { _ = g.stdin.Close() }

// Lives tells whether it has not ended.
func (g *Gateway) Lives() bool {
	select {
	case <-g.Done:
		return false
	default:
		return true
	}
}

// Kill it, as the kernel would; it need not be gone yet.
func (g *Gateway) Kill() { _ = g.Cmd.Process.Kill() } // it may have ended

// End kills it, and returns when it is gone.
func (g *Gateway) End() {
	g.Kill()
	<-g.Done
}

// Abort asks it to give up, kills it after grace or when ctx ends, and returns when it
// is gone.
func (g *Gateway) Abort(ctx context.Context, grace time.Duration, why string) {
	g.command("abort", why) // one that does not read is killed below
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-g.Done:
	case <-timer.C:
	case <-ctx.Done():
	}
	g.End()
}

// CPUSeconds of one that has ended.
func (g *Gateway) CPUSeconds() float64 {
	return (g.Cmd.ProcessState.UserTime() + g.Cmd.ProcessState.SystemTime()).Seconds()
}
