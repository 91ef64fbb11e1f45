package node

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
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"bumpless/migrate/gateway"
)

// maxGatewayLine bounds one line of a gateway's output.
const maxGatewayLine = 1 << 20

// gatewayProcess is one `bumpless gateway source|destination`. It is a process
// of its own so that its memory, its garbage collection and its end are not
// the daemon's; it stays in the daemon's session and ends with it only before
// COMMIT (its standard input closes).
type gatewayProcess struct {
	role   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	onLine atomic.Pointer[func([]byte)] // from begin on
	done   chan struct{}
	err    error // of the process, once done is closed
	// arrival of the guest, where this is its destination's; nil at a source.
	arrival *gateway.Arrival
}

// startGateway starts a gateway with config as the one line on its standard
// input. Each line of its output goes to onLine, in order, from one goroutine,
// which has returned before done is closed.
func startGateway(binary, role, moveDir string, config any, onLine func([]byte)) (*gatewayProcess, error) {
	g, err := spawnGateway(binary, role, moveDir)
	if err != nil {
		return nil, err
	}
	return g, g.begin(config, onLine)
}

// spawnGateway starts a gateway that waits for begin.
func spawnGateway(binary, role, moveDir string) (*gatewayProcess, error) {
	logFile, err := os.OpenFile(filepath.Join(moveDir, role+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s gateway: %w", role, err)
	}
	defer logFile.Close()
	g := &gatewayProcess{role: role, cmd: exec.Command(binary, "gateway", role), done: make(chan struct{})}
	g.cmd.Stderr = logFile
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g.stdin, err = g.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s gateway: %w", role, err)
	}
	stdout, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s gateway: %w", role, err)
	}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s gateway: %w", role, err)
	}
	if err := writePID(filepath.Join(moveDir, role+".pid"), g.cmd.Process.Pid); err != nil {
		g.kill()
		_ = g.cmd.Wait() // killed just above
		return nil, fmt.Errorf("start %s gateway: %w", role, err)
	}
	go g.follow(stdout)
	return g, nil
}

// begin hands the gateway its configuration, or ends it: see startGateway.
func (g *gatewayProcess) begin(config any, onLine func([]byte)) error {
	g.onLine.Store(&onLine)
	return g.hand(config)
}

// hand a line to the gateway; it is ended when that does not work.
func (g *gatewayProcess) hand(what any) error {
	line, err := json.Marshal(what)
	if err == nil {
		err = g.send(line)
	}
	if err != nil {
		g.kill()
		<-g.done
		return fmt.Errorf("start %s gateway: hand it its configuration: %w", g.role, err)
	}
	return nil
}

func (g *gatewayProcess) follow(stdout io.Reader) {
	defer close(g.done)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(make([]byte, 0, 64<<10), maxGatewayLine)
	for lines.Scan() {
		if onLine := g.onLine.Load(); onLine != nil { // else it has not begun
			(*onLine)(lines.Bytes())
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		g.kill()
	}
	g.err = g.cmd.Wait()
}

// send writes one line to the gateway.
func (g *gatewayProcess) send(line []byte) error {
	_, err := g.stdin.Write(append(line, '\n'))
	return err
}

// command sends a one-word command.
func (g *gatewayProcess) command(word string) error { return g.say(word, "") }

// refuse answers the request to stop the guest with no.
func (g *gatewayProcess) refuse(why string) error { return g.say("no", why) }

func (g *gatewayProcess) say(word, reason string) error {
	line, err := json.Marshal(map[string]string{"command": word, "reason": reason})
	if err != nil {
		return err
	}
	return g.send(line)
}

func (g *gatewayProcess) lives() bool {
	select {
	case <-g.done:
		return false
	default:
		return true
	}
}

func (g *gatewayProcess) kill() { _ = g.cmd.Process.Kill() } // already dead is fine

// end asks the gateway to stop, kills it after grace, and waits until it is
// gone.
func (g *gatewayProcess) end(ctx context.Context, grace time.Duration, why string) error {
	_ = g.say("abort", why) // a gateway that does not read is killed below
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-g.done:
		return nil
	case <-timer.C:
		g.kill()
	case <-ctx.Done():
		g.kill()
	}
	<-g.done
	return nil
}

func writePID(path string, pid int) error {
	return os.WriteFile(path, []byte(strconv.Itoa(pid)+"\n"), 0o600)
}
