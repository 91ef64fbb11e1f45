package pair

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"

	"bumpless/migrate/gateway"
)

// Gateway is a process of `bumpless gateway ROLE`, and its daemon's end of it.
type Gateway struct {
	Cmd    *exec.Cmd
	Done   chan struct{}   // closed when the process has ended
	Result *gateway.Result // what its last line said, once Done is closed; nil: it ended without a word

	role      string
	stdin     io.WriteCloser
	saw       atomic.Pointer[func(gateway.Event)]
	addresses chan []string // of a destination that listens
}

// StartGateway starts a gateway in the host's network; dir takes its log. saw is
// called with each of its lines, in order, and must not wait.
func (p *Pair) StartGateway(host, role, dir string, config any, saw func(gateway.Event)) (*Gateway, error) {
	g, err := p.spawn(host, role, dir)
	if err != nil {
		return nil, err
	}
	return g, g.Begin(config, saw)
}

// ExpectMove of the copy that runs on the host, as its daemon does when a move begins:
// the source's gateway waits for Begin; dir takes its log.
func (p *Pair) ExpectMove(host, dir string) (*Gateway, error) {
	pid, err := p.PID(host, p.Epoch)
	if err != nil {
		return nil, err
	}
	g, err := p.spawn(host, "source", dir)
	if err != nil {
		return nil, err
	}
	return g, g.write(gateway.Expected{PID: pid})
}

func (p *Pair) spawn(host, role, dir string) (*Gateway, error) {
	log, err := os.Create(filepath.Join(dir, role+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	g := &Gateway{Cmd: exec.Command(p.Binary, "gateway", role), Done: make(chan struct{}), role: role, addresses: make(chan []string, 1)}
	g.Cmd.Stderr = log
	if g.stdin, err = g.Cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := g.Cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.Bed.Host(host).InNetwork(g.Cmd.Start); err != nil {
		return nil, fmt.Errorf("start the %s gateway: %w", role, err)
	}
	go g.follow(out)
	return g, nil
}

// Begin hands a gateway its configuration. It is killed if that does not work.
func (g *Gateway) Begin(config any, saw func(gateway.Event)) error {
	g.saw.Store(&saw)
	return g.write(config)
}

func (g *Gateway) write(line any) error {
	if err := json.NewEncoder(g.stdin).Encode(line); err != nil {
		g.Kill()
		return fmt.Errorf("start the %s gateway: %w", g.role, err)
	}
	return nil
}

func (g *Gateway) follow(out io.Reader) {
	defer close(g.Done)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e gateway.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		if len(e.Addresses) > 0 {
			select {
			case g.addresses <- e.Addresses:
			default:
			}
		}
		if e.Result != nil && e.Phase == "" {
			g.Result = e.Result
		}
		if saw := g.saw.Load(); saw != nil {
			(*saw)(e)
		}
	}
	_ = g.Cmd.Wait() // its last line says how it ended
}

// Addresses at which a destination listens; it is waited for.
func (g *Gateway) Addresses() ([]string, error) {
	select {
	case list := <-g.addresses:
		return list, nil
	case <-g.Done:
		return nil, fmt.Errorf("the %s gateway ended early: %+v", g.role, g.Result)
	case <-time.After(StartWait):
		return nil, errors.New("the destination's gateway does not listen")
	}
}

// Say sends a command of the daemon. The gateway may have ended: that is told by
// its end.
func (g *Gateway) Say(word string) { _, _ = fmt.Fprintf(g.stdin, "{\"command\":%q}\n", word) }

// LetGo is the daemon's end: a gateway that has not committed gives up.
func (g *Gateway) LetGo() { _ = g.stdin.Close() } // twice is harmless

// Kill ends the process as the kernel would, and returns when it is gone.
func (g *Gateway) Kill() {
	_ = g.Cmd.Process.Kill() // it may have ended
	<-g.Done
}

// CPUSeconds of a process that has ended.
func (g *Gateway) CPUSeconds() float64 {
	return (g.Cmd.ProcessState.UserTime() + g.Cmd.ProcessState.SystemTime()).Seconds()
}
