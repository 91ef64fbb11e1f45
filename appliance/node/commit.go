package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"bumpless/appliance/api"
	"bumpless/ha/core"
	"bumpless/migrate/gateway"
)

// COMMIT, twice. A source that has committed never runs again by itself: it waits
// for the word that its destination runs, or for the proof that the destination
// never will (core.InDoubt). So COMMIT may be said again, as often as one likes and
// by whoever knows of it, and it takes any way:
//
//	source's daemon       no RUNNING within the margin (gateway.Guard), or its gateway
//	                      ended behind the marker: it says so to the destination's
//	log                   the move is in doubt: only its source can say that
//	destination's daemon  kills its gateway, waits until it is gone, continues the
//	                      copy in its place, and reports "moved"
//
// What is at stake is a copy that core kills as useless because it was seen not to
// run, while this continues it: the source would resume from before what the copy
// did. Core does that only when it has been told that the gateway has ended, and
// it is told when this is decided.
const (
	againWait   = time.Second     // for the destination's daemon
	runWait     = time.Second     // for the copy to run
	commitGrace = 2 * time.Second // for the whole answer
)

// commitAgain asks the destination's daemon. The marker is what makes it lawful,
// and it must have been seen: that it cannot be looked for is no proof here.
func (n *Node) commitAgain(m core.Move) bool {
	if _, err := os.Lstat(filepath.Join(string(n.moveDir(m.ID)), gateway.CommittedMarker)); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(n.ctx, againWait)
	defer cancel()
	answer, err := n.peer(m.To).Commit(ctx, api.CommitRequest{Move: m.ID})
	if err != nil {
		answer.Why = err.Error()
	}
	n.log.Warn("COMMIT was not answered, and sent again through the daemons", "move", m.ID, "runs", answer.Runs, "why", answer.Why)
	return answer.Runs
}

// Commit implements api.HostBackend: the move's source has committed, and hears
// nothing of the gateways.
func (n *Node) Commit(ctx context.Context, host string, r api.CommitRequest) (api.CommitAnswer, error) {
	m, ok := n.loop.snapshot().State().FindMove(r.Move)
	if !ok || m.From != host || m.To != n.self.Name {
		return api.CommitAnswer{}, &api.Refusal{Code: "role", Text: fmt.Sprintf("host %s is not the source of a move %q to host %s", host, r.Move, n.self.Name)}
	}
	g := n.moves.get(r.Move)
	if g == nil || g.arrival == nil || !g.arrival.Commit() {
		return api.CommitAnswer{Runs: n.ran(m), Why: "the move has no gateway here any more: the log decides"}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitGrace)
	defer cancel()
	runs, why := g.arrival.Settle(ctx, g.Kill)
	return api.CommitAnswer{Runs: runs, Why: why}, nil
}

// ran: the log says so, or it was seen.
func (n *Node) ran(m core.Move) bool {
	if m.Phase == core.Finished {
		return m.Outcome == core.Moved
	}
	return slices.ContainsFunc(n.loop.snapshot().View(now()).Copies, func(c core.Observed) bool {
		return c.Guest == m.Guest && c.Epoch == m.Epoch && c.Status == core.Running
	})
}

// runIncoming continues the copy in its gateway's place. The host's right to run
// guests counts as of now: this process may not have been run for long.
func (n *Node) runIncoming(m core.Move) error {
	if n.loop.snapshot().View(now()).LeaseLeft <= 0 {
		return fmt.Errorf("host %s holds no lease", n.self.Name)
	}
	ctx, cancel := context.WithTimeout(n.ctx, runWait)
	defer cancel()
	return gateway.RunLoaded(ctx, n.hypervisor.MoveSocket(m.Guest, m.Epoch))
}
