package node

import (
	"context"
	"sync"
	"time"

	"bumpless/appliance/api"
	"bumpless/ha/core"
)

// Bounds of what is kept: a slow watcher misses lines rather than slow a move
// down, and one who comes late still sees the last moves from their start.
const (
	watcherBacklog = 256
	keptMoves      = 8
	keptLines      = 256
)

// progressHub hands each gateway's line to everybody who watches.
type progressHub struct {
	mu       sync.Mutex
	watchers map[chan api.Progress]bool
	order    []string // of moves, oldest first
	kept     map[string][]api.Progress
}

// watch returns what was said of the move so far, and what will be.
func (h *progressHub) watch(move string) (said []api.Progress, more <-chan api.Progress, stop func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watchers == nil {
		h.watchers = map[chan api.Progress]bool{}
	}
	ch := make(chan api.Progress, watcherBacklog)
	h.watchers[ch] = true
	return append(said, h.kept[move]...), ch, func() {
		h.mu.Lock()
		delete(h.watchers, ch)
		h.mu.Unlock()
	}
}

func (h *progressHub) publish(p api.Progress) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keep(p)
	for ch := range h.watchers {
		select {
		case ch <- p:
		default: // a slow watcher misses a line
		}
	}
}

func (h *progressHub) keep(p api.Progress) {
	if h.kept == nil {
		h.kept = map[string][]api.Progress{}
	}
	if _, known := h.kept[p.Move]; !known {
		h.order = append(h.order, p.Move)
		if len(h.order) > keptMoves {
			delete(h.kept, h.order[0])
			h.order = h.order[1:]
		}
	}
	if len(h.kept[p.Move]) < keptLines || p.Result != nil {
		h.kept[p.Move] = append(h.kept[p.Move], p)
	}
}

// LocalProgress implements api.HostBackend: what this host's gateway says of a
// move, to its end.
func (n *Node) LocalProgress(ctx context.Context, r api.ProgressRequest, tell func(api.Progress)) error {
	said, more, stop := n.progress.watch(r.Move)
	defer stop()
	for {
		for _, p := range said {
			p.Final = p.Result != nil
			if tell(p); p.Final {
				return nil
			}
		}
		select {
		case p := <-more:
			said = nil
			if p.Move == r.Move {
				said = []api.Progress{p}
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

const (
	pollEvery = 50 * time.Millisecond
	// resultWait: the gateway's own figures come from the source host, the
	// outcome from the log; the figures are waited for that long.
	resultWait = time.Second
)

// Progress implements api.Backend.
func (n *Node) Progress(ctx context.Context, r api.ProgressRequest, tell func(api.Progress)) error {
	if r.Host != "" {
		return n.followDrain(ctx, r.Host, tell)
	}
	m, err := n.awaitMove(ctx, r.Move)
	if err != nil {
		return err
	}
	last, err := n.followMove(ctx, m, tell)
	if err != nil {
		return err
	}
	last.Final = true
	tell(last)
	return nil
}

// awaitMove waits until the log knows the move: the order may have been entered
// through another host.
func (n *Node) awaitMove(ctx context.Context, id string) (core.Move, error) {
	for end := time.Now().Add(5 * time.Second); ; {
		if m, ok := n.loop.snapshot().State().FindMove(id); ok {
			return m, nil
		}
		if time.Now().After(end) {
			return core.Move{}, &api.Refusal{Code: "unknown", Text: "no move " + id + " is known: see `bumpless events`"}
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return core.Move{}, ctx.Err()
		}
	}
}

// followMove tells of a move until the log has finished it, and returns the
// last line without telling it.
func (n *Node) followMove(ctx context.Context, m core.Move, tell func(api.Progress)) (api.Progress, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := make(chan api.Progress, watcherBacklog)
	go n.sourceLines(ctx, m, lines)
	line := func(phase string) api.Progress {
		return api.Progress{AtMs: time.Now().UnixMilli(), Move: m.ID, Guest: m.Guest, From: m.From, To: m.To, Phase: phase}
	}
	var result *api.Progress
	phase, ended := core.Phase(""), time.Time{}
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		select {
		case p := <-lines:
			p.Final = false
			if p.Result != nil {
				result = &p
				continue
			}
			tell(p)
		case <-poll.C:
			is, ok := n.loop.snapshot().State().FindMove(m.ID)
			if ok && is.Phase != phase {
				phase = is.Phase
				// Ready says only that the source's gateway may begin: it tells
				// of itself next.
				if phase == core.Preparing || phase == core.InDoubt {
					tell(line(string(phase)))
				}
			}
			if ok && is.Phase == core.Finished {
				if ended.IsZero() {
					ended = time.Now()
				}
				if result == nil && time.Since(ended) < resultWait {
					continue
				}
				last := line("finished")
				last.Outcome, last.Reason = string(is.Outcome), is.Why
				if result != nil {
					last.Result = result.Result
				}
				return last, nil
			}
		case <-ctx.Done():
			return api.Progress{}, ctx.Err()
		}
	}
}

// sourceLines brings the lines of the source's gateway, wherever it is.
func (n *Node) sourceLines(ctx context.Context, m core.Move, lines chan<- api.Progress) {
	follow := n.LocalProgress
	if m.From != n.self.Name {
		follow = n.peer(m.From).LocalProgress
	}
	err := follow(ctx, api.ProgressRequest{Move: m.ID}, func(p api.Progress) {
		select {
		case lines <- p:
		case <-ctx.Done():
		}
	})
	if err != nil && ctx.Err() == nil {
		n.log.Warn("follow a move", "move", m.ID, "source", m.From, "error", err)
	}
}

// followDrain tells of every move off the host until it is empty, or until for the
// length of a lease nothing has moved and nothing will without an order.
func (n *Node) followDrain(ctx context.Context, host string, tell func(api.Progress)) error {
	told := map[string]bool{}
	for _, m := range n.loop.snapshot().State().Past {
		told[m.ID] = true
	}
	var still lasting
	asked := time.Time{}
	for {
		state := n.loop.snapshot().State()
		h, known := state.Hosts[host]
		if !known {
			return &api.Refusal{Code: "unknown", Text: "no host " + host}
		}
		followed := false
		for _, m := range append(movesOf(state), state.Past...) {
			if m.From != host || told[m.ID] {
				continue
			}
			told[m.ID], followed = true, true
			last, err := n.followMove(ctx, m, tell)
			if err != nil {
				return err
			}
			tell(last)
		}
		if followed {
			still = lasting{}
			continue
		}
		if h.Service != core.Draining {
			tell(api.Progress{AtMs: time.Now().UnixMilli(), From: host, Phase: string(h.Service), Final: true, Reason: drained(state, h)})
			return nil
		}
		if at := time.Now(); at.Sub(asked) >= outlookEvery {
			why := stuck(state, host, n.outlook(ctx))
			if asked = time.Now(); still.is(why != "", at, n.timing.Lease) {
				tell(api.Progress{AtMs: at.UnixMilli(), From: host, Phase: string(h.Service), Outcome: "refused", Reason: why, Final: true})
				return nil
			}
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drained is the last line of a drain that is over.
func drained(s core.State, h core.Host) string {
	if h.Service != core.Maintenance {
		return "host " + h.Name + " is in service"
	}
	caution, enough := s.Without(h.Name)
	switch {
	case !enough:
		return "host " + h.Name + " runs no guest; " + caution
	case caution != "":
		return "host " + h.Name + " runs no guest and can be switched off; " + caution
	}
	return "host " + h.Name + " runs no guest and can be switched off"
}

func movesOf(s core.State) (list []core.Move) {
	for _, m := range s.Moves {
		list = append(list, m)
	}
	return list
}
