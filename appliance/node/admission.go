package node

import (
	"context"
	"sync"

	"bumpless/ha/core"
)

// admission is where a leader decides what enters its log. Two orders that only
// together take too many hosts out of service must not both be judged by the state
// before either of them.
type admission struct {
	mu sync.Mutex

	term    func() uint64     // in which this host leads, 0 when it does not
	state   func() core.State // as the log has made it so far
	silent  func() []string   // hosts that this leader does not hear of
	propose func(context.Context, core.Command) (core.Result, error)
}

func (n *Node) newAdmission() *admission {
	return &admission{term: n.raft.Term, state: n.raft.State, propose: n.raft.Propose,
		silent: func() []string { return n.silentServers(context.Background(), n.self.Name) }}
}

// enter a command into the own log.
func (a *admission) enter(ctx context.Context, c core.Command) (core.Result, error) {
	term := a.term()
	if c.SetMaintenance == nil || term == 0 {
		return a.propose(ctx, c) // what does not lead is told who does
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	// Whoever gave the order may go away before it is applied, and the next order
	// has to see it all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), proposeTimeout)
	defer cancel()
	if refused := core.Admit(a.state(), a.silent(), c); refused != nil {
		return core.Result{Version: core.CommandVersion, Code: refused.Code, Text: refused.Text}, nil
	}
	c.Term = term // another leader may have entered something meanwhile
	return a.propose(ctx, c)
}
