package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"bumpless/appliance/api"
	"bumpless/ha/core"
	"bumpless/ha/plan"
	"bumpless/migrate/gateway"
)

var (
	_ api.Backend     = (*Node)(nil)
	_ api.HostBackend = (*Node)(nil)
)

// Status implements api.Backend.
func (n *Node) Status(ctx context.Context) (api.Status, error) {
	leader := n.raft.Leader()
	silences := n.silences(ctx, leader)
	agent := n.loop.snapshot() // afterwards: a leader that does not answer costs time
	view, state := agent.View(now()), agent.State()
	hosts, guests := statusLists(state, view, silences)
	return api.Status{Site: n.site.Site, Host: n.self.Name, Leader: leader, Index: state.Index, LeaseLeftS: view.LeaseLeft.Seconds(),
		WatchdogWithheld: view.Withheld, WaitingPeriodS: n.timing.WaitingPeriod().Seconds(), WaitingPeriod: n.timing.ExplainWaitingPeriod(),
		Hosts: hosts, Guests: guests}, nil
}

// statusLists are sorted by name, and empty rather than nil: in JSON a list is
// never null, also before the log has named the first host.
func statusLists(state core.State, view core.View, silences map[string]float64) ([]api.HostStatus, []api.Guest) {
	hosts, guests := []api.HostStatus{}, []api.Guest{}
	for _, h := range state.Hosts {
		line := api.HostStatus{Name: h.Name, Role: string(h.Role), Service: string(h.Service), MemoryMiB: h.MemoryMiB}
		if h.Role == core.Server {
			line.FreeMemoryMiB = state.FreeMiB(h.Name, "")
		}
		if s, known := silences[h.Name]; known {
			line.SilentS = &s
		}
		hosts = append(hosts, line)
	}
	sort.Slice(hosts, func(i, j int) bool { return hosts[i].Name < hosts[j].Name })
	for _, g := range state.Guests {
		guests = append(guests, guestLine(state, view, g))
	}
	sort.Slice(guests, func(i, j int) bool { return guests[i].Name < guests[j].Name })
	return hosts, guests
}

func guestLine(state core.State, view core.View, g core.Guest) api.Guest {
	line := api.Guest{Name: g.Name, Wanted: g.Wanted, Owner: g.Owner, Epoch: g.Copy, MemoryMiB: g.MemoryMiB, BudgetMs: g.BudgetMs, Group: g.Group, MayRun: []string{}}
	for host := range g.MayRun {
		line.MayRun = append(line.MayRun, host)
	}
	slices.Sort(line.MayRun)
	for _, c := range view.Copies {
		if c.Guest == g.Name {
			line.Here = string(c.Status)
		}
	}
	if m, moving := state.Moves[g.Name]; moving {
		line.Move, line.MoveTo, line.MovePhase = m.ID, m.To, string(m.Phase)
	}
	return line
}

func order(by api.Caller) core.Order {
	return core.Order{Name: by.Name, Role: by.Role, AtMs: time.Now().UnixMilli()}
}

// Move implements api.Backend.
func (n *Node) Move(ctx context.Context, by api.Caller, r api.MoveRequest) (api.Accepted, error) {
	state := n.newest(ctx)
	g, ok := state.Guests[r.Guest]
	if !ok {
		return api.Accepted{}, &api.Refusal{Code: string(core.Unknown), Text: fmt.Sprintf("no guest %q: see `bumpless guests`", r.Guest)}
	}
	if r.To == "" {
		return api.Accepted{}, &api.Refusal{Code: string(core.Malformed), Text: "no destination: say `move GUEST HOST`, or `drain HOST` to let the leader choose"}
	}
	if r.Reason == "" {
		r.Reason = "operator"
	}
	c := core.Command{Version: core.CommandVersion, By: order(by), BeginMove: &core.BeginMove{ID: core.MoveID(g.Name, g.Epoch+1),
		Guest: g.Name, To: r.To, Epoch: g.Epoch, Reason: r.Reason, Insist: r.Insist}}
	if refused := core.Check(state, c).Err(); refused != nil {
		return api.Accepted{}, refusal(refused)
	}
	waking, err := n.admittedAt(ctx, r.To, g.Owner, r.Guest)
	if err == nil {
		err = gateway.HeardInTime(r.To, g.BudgetMs, n.site.Move.MarginMs, waking)
	}
	if err != nil {
		return api.Accepted{}, &api.Refusal{Code: string(core.NoRoom), Text: err.Error()}
	}
	if r.DryRun {
		return api.Accepted{Text: fmt.Sprintf("would move guest %s from %s to %s within %s", g.Name, g.Owner, r.To, budgetText(g.BudgetMs, waking))}, nil
	}
	if err := n.command(ctx, c); err != nil {
		return api.Accepted{}, err
	}
	return api.Accepted{Move: c.BeginMove.ID, Text: fmt.Sprintf("guest %s moves from %s to %s", g.Name, g.Owner, r.To)}, nil
}

// admittedAt checks, before the move is entered, what the destination will
// check again: its QEMU and its memory. It returns how many ms of the guest's budget are
// kept until it is heard there.
func (n *Node) admittedAt(ctx context.Context, to, from, name string) (wakingMs int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	there, err := n.abilitiesOf(ctx, to)
	if err != nil {
		return 0, fmt.Errorf("host %s does not say what it can take: %w", to, err)
	}
	here, err := n.abilitiesOf(ctx, from)
	if err != nil {
		return 0, fmt.Errorf("host %s does not say what it runs: %w", from, err)
	}
	if err := here.Lets(n.hypervisor.Specs[name]); err != nil {
		return 0, fmt.Errorf("host %s: %w", from, err)
	}
	version, err := here.Version(name)
	if err != nil {
		return 0, fmt.Errorf("host %s: %w", from, err)
	}
	if err := there.Admit(n.hypervisor.Specs[name], version); err != nil {
		return 0, fmt.Errorf("host %s: %w", to, err)
	}
	return there.WakingMs[name], nil
}

// Drain implements api.Backend.
func (n *Node) Drain(ctx context.Context, by api.Caller, r api.HostRequest) (api.Accepted, error) {
	state := n.newest(ctx)
	c := core.Command{Version: core.CommandVersion, By: order(by), SetMaintenance: &core.SetMaintenance{Host: r.Host, On: true, Reason: r.Reason, Insist: r.Insist}}
	if refused := core.Check(state, c).Err(); refused != nil {
		return api.Accepted{}, refusal(refused)
	}
	// The leader asks the same when the order comes, unless it is of an earlier release.
	if refused := core.Admit(state, n.silentServers(ctx, n.raft.Leader()), c); refused != nil {
		return api.Accepted{}, refusal(refused)
	}
	moves, stay, err := n.drainPlan(ctx, state, r.Host)
	if err != nil {
		return api.Accepted{}, err
	}
	a := api.Accepted{Plan: append(moves, stay...), Stays: len(stay)}
	if r.DryRun {
		a.Text = "would take host " + r.Host + " out of service; " + drainText(len(moves), len(stay))
		return a, nil
	}
	if err := n.command(ctx, c); err != nil {
		return api.Accepted{}, err
	}
	a.Text = "host " + r.Host + " is taken out of service; " + drainText(len(moves), len(stay))
	return a, nil
}

// drainPlan says, a line a guest, what draining the host would do.
func (n *Node) drainPlan(ctx context.Context, state core.State, host string) (moves, stay []string, err error) {
	for _, g := range state.Guests {
		if g.Owner != host {
			continue
		}
		list, err := n.explain(ctx, g.Name)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range list {
			if why := stays(state, g, e); why != "" {
				stay = append(stay, fmt.Sprintf("guest %s stays: %s", g.Name, why))
			} else {
				moves = append(moves, fmt.Sprintf("guest %s moves to %s: %s", g.Name, e.To, e.Why))
			}
		}
	}
	slices.Sort(moves)
	slices.Sort(stay)
	return moves, stay, nil
}

// explain is Explain with the explanations themselves.
func (n *Node) explain(ctx context.Context, guest string) (list []plan.Explanation, err error) {
	lines, err := n.Explain(ctx, api.ExplainRequest{Guest: guest})
	for _, l := range lines {
		var e plan.Explanation
		if err := json.Unmarshal(l.Detail, &e); err != nil {
			return nil, fmt.Errorf("explain guest %s: %w", l.Guest, err)
		}
		list = append(list, e)
	}
	return list, err
}

// Resume implements api.Backend.
func (n *Node) Resume(ctx context.Context, by api.Caller, r api.HostRequest) (api.Accepted, error) {
	if r.Insist {
		return api.Accepted{}, &api.Refusal{Code: string(core.Malformed), Text: "to take a host back into service nobody has to insist: leave it out"}
	}
	c := core.Command{Version: core.CommandVersion, By: order(by), SetMaintenance: &core.SetMaintenance{Host: r.Host, Reason: r.Reason}}
	if refused := core.Check(n.newest(ctx), c).Err(); refused != nil {
		return api.Accepted{}, refusal(refused)
	}
	if r.DryRun {
		return api.Accepted{Text: "would take host " + r.Host + " back into service"}, nil
	}
	if err := n.command(ctx, c); err != nil {
		return api.Accepted{}, err
	}
	return api.Accepted{Text: "host " + r.Host + " is in service"}, nil
}

// command enters a person's order; a refusal says why.
func (n *Node) command(ctx context.Context, c core.Command) error {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	r, err := n.enter(ctx, c, false)
	if errors.Is(err, errNotEntered) {
		return &api.Refusal{Code: "no-leader", Text: err.Error()}
	}
	if err != nil {
		return fmt.Errorf("it may or may not be carried out, see `bumpless events`: %w", err)
	}
	if refused := r.Err(); refused != nil {
		return refusal(refused)
	}
	n.applied(ctx, r.Index)
	return nil
}

// newest is the state as the leader had it when it was asked: an order that was
// given through another host a moment ago must not be judged by the time before
// it. When the leader does not answer, what is known here has to do; the log
// judges every order once more.
func (n *Node) newest(ctx context.Context) core.State {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	if leader := n.leader(ctx); leader != "" && leader != n.self.Name {
		if s, err := n.peer(leader).Status(ctx); err == nil {
			n.applied(ctx, s.Index)
		}
	}
	return n.loop.snapshot().State()
}

// leader waits for one to be known: a host that has just come back knows nothing
// of the site before it has heard from the leader. "" when ctx ends first.
func (n *Node) leader(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	for {
		if leader := n.raft.Leader(); leader != "" {
			return leader
		}
		select {
		case <-time.After(appliedPoll):
		case <-ctx.Done():
			return ""
		}
	}
}

// applied waits until this host has applied the log up to index: whoever gave
// the order and asks next must not be told of the time before it. When ctx ends
// first, the order stands all the same.
func (n *Node) applied(ctx context.Context, index uint64) {
	for n.loop.snapshot().State().Index < index {
		select {
		case <-time.After(appliedPoll):
		case <-ctx.Done():
			return
		}
	}
}

const (
	appliedPoll = 5 * time.Millisecond
	leaderWait  = 2 * time.Second // some elections; without a leader no order is entered anyway
)

func refusal(err error) error {
	var r *core.Refusal
	if errors.As(err, &r) {
		return &api.Refusal{Code: string(r.Code), Text: r.Text}
	}
	return err
}

// Explain implements api.Backend. The leader knows best who is in contact.
func (n *Node) Explain(ctx context.Context, r api.ExplainRequest) ([]api.Explanation, error) {
	if leader := n.raft.Leader(); leader != "" && leader != n.self.Name {
		if list, err := n.peer(leader).Explain(ctx, r); err == nil {
			return list, nil
		}
	}
	agent := n.loop.snapshot()
	names := []string{r.Guest}
	if r.Guest == "" {
		names = nil
		for name := range agent.State().Guests {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	list := []api.Explanation{}
	for _, name := range names {
		e, err := agent.Explain(now(), name)
		if err != nil {
			return nil, &api.Refusal{Code: string(core.Unknown), Text: err.Error()}
		}
		detail, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		text := e.Why
		for _, t := range e.Terms {
			text += "; " + t.Why
		}
		list = append(list, api.Explanation{Guest: name, Text: text, Detail: detail})
	}
	return list, nil
}

// Events implements api.Backend.
func (n *Node) Events(_ context.Context, r api.EventsRequest) ([]api.Event, error) {
	list := []api.Event{}
	for _, e := range n.loop.snapshot().State().Records {
		if e.Index > r.After {
			list = append(list, api.Event{Index: e.Index, AtMs: e.By.AtMs, By: e.By.Name, Role: e.By.Role, What: e.What, Guest: e.Guest, Host: e.Host, Move: e.Move})
		}
	}
	return list, nil
}
