package node

import (
	"fmt"
	"sync"
	"time"

	"bumpless/ha/core"
	"bumpless/migrate/gateway"
)

// expected are the source's gateways of moves whose destination is being prepared:
// they look where the guest writes meanwhile (gateway.Expected). A move whose gateway
// has begun is not expected any more, however late its order comes.
type expected struct {
	mu    sync.Mutex
	live  map[string]*gatewayProcess // by move
	begun map[string]bool            // until the gateway has ended
}

// start what the move will need, unless it has begun; nil: it has.
func (e *expected) start(move string, start func() (*gatewayProcess, error)) (*gatewayProcess, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun[move] || e.live[move] != nil {
		return nil, nil
	}
	g, err := start()
	if err != nil {
		return nil, err
	}
	if e.live == nil {
		e.live = map[string]*gatewayProcess{}
	}
	e.live[move] = g
	return g, nil
}

// begin the move: with the gateway that waits for it, if there is one.
func (e *expected) begin(move string) *gatewayProcess {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.begun == nil {
		e.begun = map[string]bool{}
	}
	e.begun[move] = true
	g := e.live[move]
	delete(e.live, move)
	return g
}

// drop the gateway; false: it does not wait any more.
func (e *expected) drop(move string, g *gatewayProcess) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	waits := e.live[move] == g
	if waits {
		delete(e.live, move)
	}
	return waits
}

// ended: the move's gateway.
func (e *expected) ended(move string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.begun, move)
}

// waits tells whether the gateway still does.
func (e *expected) waits(move string, g *gatewayProcess) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live[move] == g
}

// expectPoll is how often an expected move is looked at.
const expectPoll = 200 * time.Millisecond

// expectMove starts the source's gateway of a move ahead, and ends it if the move is
// over before it begins. A move goes on without one: it only knows less of its guest.
func (n *Node) expectMove(a core.ExpectMove) {
	move := a.Move.ID
	g, err := n.expected.start(move, func() (*gatewayProcess, error) { return n.spawnExpected(a) })
	if err != nil {
		n.log.Warn("expect a move", "move", move, "error", err)
	}
	if g == nil {
		return
	}
	poll := time.NewTicker(expectPoll)
	defer poll.Stop()
	givenUp := time.NewTimer(n.timing.PrepareTimeout) // by core, whatever the log says
	defer givenUp.Stop()
	for over := false; !over; {
		select {
		case <-poll.C:
			m, known := n.loop.snapshot().State().FindMove(move)
			over = !n.expected.waits(move, g) || !known || m.Phase == core.Finished
		case <-givenUp.C:
			over = true
		case <-g.Done:
			over = true
		case <-n.ctx.Done():
			over = true
		}
	}
	if n.expected.drop(move, g) { // else it has begun, and is followed
		g.End()
	}
}

func (n *Node) spawnExpected(a core.ExpectMove) (*gatewayProcess, error) {
	pid, err := n.pidOf(a.Move.Guest, a.Epoch)
	if err != nil {
		return nil, err
	}
	dir := n.moveDir(a.Move.ID)
	if err := dir.create(); err != nil {
		return nil, err
	}
	g, err := spawnGateway(n.binary, source, string(dir))
	if err != nil {
		return nil, err
	}
	return g, g.Expect(gateway.Expected{PID: pid})
}

// pidOf a copy that runs here.
func (n *Node) pidOf(guest string, epoch uint64) (int, error) {
	copies, err := n.hypervisor.Find()
	if err != nil {
		return 0, err
	}
	for _, c := range copies {
		if c.Guest == guest && c.Epoch == epoch {
			return c.PID, nil
		}
	}
	return 0, fmt.Errorf("guest %s has no copy of epoch %d here", guest, epoch)
}
