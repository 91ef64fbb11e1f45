package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"bumpless/appliance/api"
	"bumpless/ha/core"
	"bumpless/ha/raftlog"
)

// proposeTimeout bounds a proposal: past it its fate is unknown, which core
// treats as such.
const proposeTimeout = 5 * time.Second

// errNotEntered marks a proposal that certainly never entered the log.
var errNotEntered = errors.New("not entered into the log")

// propose enters the command into the log. Only a fate that is certain is
// reported: a refusal, or a command that never entered.
func (n *Node) propose(a core.Propose) {
	ctx, cancel := context.WithTimeout(n.ctx, proposeTimeout)
	defer cancel()
	a.Command.By.AtMs = time.Now().UnixMilli()
	result, err := n.enter(ctx, a.Command, a.LocalOnly)
	var failed core.ProposalFailed
	switch {
	case err == nil && result.OK():
		return
	case err == nil:
		failed = core.ProposalFailed{Key: a.ProposalKey, Code: result.Code, Why: result.Text}
	case errors.Is(err, errNotEntered):
		failed = core.ProposalFailed{Key: a.ProposalKey, Why: err.Error()}
	default:
		n.log.Warn("propose: the outcome is unknown", "key", a.ProposalKey, "error", err)
		return
	}
	n.log.Info("proposal failed", "key", failed.Key, "code", failed.Code, "why", failed.Why)
	n.loop.post(n.ctx, failed)
}

// enter proposes to the own log when this host leads, and through the leader
// otherwise.
func (n *Node) enter(ctx context.Context, c core.Command, localOnly bool) (core.Result, error) {
	leader := n.raft.Leader()
	switch {
	case leader == n.self.Name || localOnly:
		r, err := n.admission.enter(ctx, c)
		if errors.Is(err, raftlog.ErrNotLeader) {
			err = fmt.Errorf("%w: %w", errNotEntered, err)
		}
		return r, err
	case leader == "":
		return core.Result{}, fmt.Errorf("%w: %s", errNotEntered, raftlog.NoLeader(len(n.site.Hosts)))
	}
	return n.enterThrough(ctx, leader, c)
}

func (n *Node) enterThrough(ctx context.Context, leader string, c core.Command) (core.Result, error) {
	b, err := c.Encode()
	if err != nil {
		return core.Result{}, fmt.Errorf("%w: %w", errNotEntered, err)
	}
	answer, err := n.peer(leader).Propose(ctx, api.ProposeRequest{Command: b})
	if err != nil {
		return core.Result{}, err
	}
	if answer.NotEntered {
		return core.Result{}, fmt.Errorf("%w: %s", errNotEntered, answer.Why)
	}
	if answer.Why != "" {
		return core.Result{}, errors.New(answer.Why)
	}
	var r core.Result
	if err := json.Unmarshal(answer.Result, &r); err != nil {
		return r, fmt.Errorf("the leader's answer: %w", err)
	}
	return r, nil
}

// Propose implements api.HostBackend: another host's command enters this
// leader's log. A host speaks for itself and for the people it has identified,
// never for another host; what a leader knows by itself is never forwarded.
func (n *Node) Propose(ctx context.Context, host string, r api.ProposeRequest) (api.ProposeAnswer, error) {
	c, err := core.DecodeCommand(r.Command)
	if err != nil {
		return api.ProposeAnswer{}, &api.Refusal{Code: "malformed", Text: err.Error()}
	}
	if !core.MayForward(n.raft.State(), host, c) {
		return api.ProposeAnswer{}, &api.Refusal{Code: "role", Text: "host " + host + " may not propose this"}
	}
	result, err := n.enter(ctx, c, true)
	switch {
	case errors.Is(err, errNotEntered):
		return api.ProposeAnswer{NotEntered: true, Why: err.Error()}, nil
	case err != nil:
		return api.ProposeAnswer{Why: err.Error()}, nil
	}
	raw, err := json.Marshal(result)
	return api.ProposeAnswer{Result: raw}, err
}

// Lease implements api.HostBackend.
func (n *Node) Lease(ctx context.Context, host string, r api.LeaseRequest) (api.LeaseAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, n.timing.Lease/2)
	defer cancel()
	a := n.serveLease(ctx, host, r.AskedAt)
	return api.LeaseAnswer{Granted: a.granted, Index: a.index, Why: a.why}, nil
}

// peer is the client of a host of the site file. The log's names come from
// there too; a leader that is not in this host's file is called in vain.
func (n *Node) peer(host string) *api.Client {
	if c, ok := n.peers[host]; ok {
		return c
	}
	return api.NewAbsentClient(host)
}
