package pair

import (
	"errors"
	"fmt"
	"os/exec"
	"time"

	"bumpless/migrate/gateway"
	"bumpless/migrate/gateway/child"
)

// Gateway is a process of `bumpless gateway ROLE`, and its daemon's end of it.
type Gateway struct {
	*child.Gateway

	role      string
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
	return g, g.Expect(gateway.Expected{PID: pid})
}

func (p *Pair) spawn(host, role, dir string) (*Gateway, error) {
	g, err := child.Start(p.Binary, role, dir, func(c *exec.Cmd) error { return p.Bed.Host(host).InNetwork(c.Start) })
	if err != nil {
		return nil, err
	}
	return &Gateway{Gateway: g, role: role, addresses: make(chan []string, 1)}, nil
}

// Begin hands a gateway its configuration. It is killed if that does not work.
func (g *Gateway) Begin(config any, saw func(gateway.Event)) error {
	return g.Gateway.Begin(config, func(e gateway.Event) {
		if len(e.Addresses) > 0 {
			select {
			case g.addresses <- e.Addresses:
			default:
			}
		}
		saw(e)
	})
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
