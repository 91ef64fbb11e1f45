package node

import (
	"context"
	"strings"
	"time"

	"bumpless/ha/core"
	"bumpless/migrate/gateway"
)

// again marks a move that this host ordered once more.
const again = "again over the LAN that is left: "

// againWithin bounds the wait for the log to close the move that failed.
const againWithin = 30 * time.Second

// anotherTry of a move that a person ordered, and that one of two LANs ended: at
// most one, in that person's name. What a drain moves is moved again anyway. The
// connections of a new move leave out a LAN that does not answer.
func anotherTry(s core.State, m core.Move, r gateway.Result) (core.Command, bool) {
	if !r.LinkBroke || r.Outcome != gateway.Failed || m.By.Role == core.RoleHost || strings.HasPrefix(m.Reason, again) {
		return core.Command{}, false
	}
	g, ended := s.Guests[m.Guest], false
	if past, known := s.FindMove(m.ID); known {
		ended = past.Phase == core.Finished && past.Outcome == core.Failed
	}
	c := core.Command{Version: core.CommandVersion, By: m.By, BeginMove: &core.BeginMove{ID: core.MoveID(g.Name, g.Epoch+1), Guest: g.Name,
		To: m.To, Epoch: g.Epoch, Reason: again + m.Reason}}
	// Whoever ordered something else meanwhile is not overruled.
	return c, ended && g.LastMove == m.ID && g.Owner == m.From && g.Wanted
}

// tryAgain waits until the log has closed the move, and orders it once more.
func (n *Node) tryAgain(m core.Move, r gateway.Result) {
	ctx, cancel := context.WithTimeout(n.ctx, againWithin)
	defer cancel()
	for ctx.Err() == nil {
		if c, ok := anotherTry(n.loop.snapshot().State(), m, r); ok {
			n.log.Info("a LAN ended the move: it is tried once more", "move", m.ID, "as", c.BeginMove.ID, "why", r.Reason)
			if err := n.command(ctx, c); err != nil {
				n.log.Warn("try a move once more", "move", m.ID, "error", err)
			}
			return
		}
		time.Sleep(appliedPoll)
	}
}
