package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bumpless/appliance/api"
	"bumpless/ha/core"
)

// leaseAnswer is the leader's answer to one request.
type leaseAnswer struct {
	granted bool
	index   uint64
	why     string
}

// leaseDesk (at the leader) holds the requests that wait for core's answer.
type leaseDesk struct {
	mu      sync.Mutex
	waiting map[string]chan leaseAnswer
}

func leaseKey(host string, askedAt time.Duration) string {
	return fmt.Sprintf("%s/%d", host, askedAt)
}

func (d *leaseDesk) wait(host string, askedAt time.Duration) (<-chan leaseAnswer, func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waiting == nil {
		d.waiting = map[string]chan leaseAnswer{}
	}
	key := leaseKey(host, askedAt)
	ch := make(chan leaseAnswer, 1)
	d.waiting[key] = ch
	return ch, func() {
		d.mu.Lock()
		delete(d.waiting, key)
		d.mu.Unlock()
	}
}

func (d *leaseDesk) answer(host string, askedAt time.Duration, a leaseAnswer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ch, ok := d.waiting[leaseKey(host, askedAt)]; ok {
		select {
		case ch <- a:
		default: // answered already; the first answer stands
		}
	}
}

// serveLease is the leader's side of a request: it has a quorum confirm that
// this host still leads, AFTER the request came in, and lets core decide.
func (n *Node) serveLease(ctx context.Context, host string, askedAt time.Duration) leaseAnswer {
	index, err := n.raft.Confirm(ctx)
	if err != nil {
		return leaseAnswer{why: err.Error()}
	}
	answer, forget := n.leases.wait(host, askedAt)
	defer forget()
	n.loop.post(ctx, core.LeaseRequested{Host: host, AskedAt: askedAt, Verified: true, Index: index})
	select {
	case a := <-answer:
		return a
	case <-ctx.Done():
		return leaseAnswer{why: "the leader did not decide in time"}
	}
}

// askLease is the asker's side. A request that gets no answer is not reported:
// core asks again, and the lease counts from the moment of asking.
func (n *Node) askLease(a core.AskLease) {
	if n.watchdog.trouble() != nil {
		return // said already: without a watchdog this host must run no guest
	}
	ctx, cancel := context.WithTimeout(n.ctx, n.timing.Lease/2)
	defer cancel()
	leader := n.raft.Leader()
	var got leaseAnswer
	switch leader {
	case "":
		return
	case n.self.Name:
		got = n.serveLease(ctx, n.self.Name, a.AskedAt)
	default:
		answer, err := n.peer(leader).Lease(ctx, api.LeaseRequest{AskedAt: a.AskedAt})
		if err != nil {
			n.log.Warn("ask for a lease", "leader", leader, "error", err)
			return
		}
		got = leaseAnswer{granted: answer.Granted, index: answer.Index, why: answer.Why}
	}
	n.loop.post(n.ctx, core.LeaseReply{AskedAt: a.AskedAt, Granted: got.granted, Index: got.index, Why: got.why})
}
