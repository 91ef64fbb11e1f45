package node

import (
	"context"
	"slices"
	"time"
)

// silenceWait bounds the question to the leader: a status is asked for when
// something is wrong, and must not wait for what is wrong.
const silenceWait = 500 * time.Millisecond

// silentServers are those that the leader does not hear of, none when it cannot be
// asked.
func (n *Node) silentServers(ctx context.Context, leader string) []string {
	return longerThan(n.timing.Lease, n.silences(ctx, leader), leader)
}

// longerThan a lease silent, by name, but for the leader: no lease of theirs can hold.
func longerThan(lease time.Duration, silences map[string]float64, leader string) (list []string) {
	for name, silent := range silences {
		if name != leader && silent > lease.Seconds() {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// silences of the servers in seconds, as the leader knows them; nil when it cannot
// be asked. A host that only believes it leads has nothing to say.
func (n *Node) silences(ctx context.Context, leader string) map[string]float64 {
	if view := n.loop.snapshot().View(now()); view.Leader {
		list := map[string]float64{}
		for host, silent := range view.Silence {
			list[host] = silent.Seconds()
		}
		return list
	}
	if leader == "" || leader == n.self.Name {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, silenceWait)
	defer cancel()
	s, err := n.peer(leader).Status(ctx)
	if err != nil {
		n.log.Debug("ask the leader how long the hosts have been silent", "leader", leader, "error", err)
		return nil
	}
	list := map[string]float64{}
	for _, h := range s.Hosts {
		if h.SilentS != nil && *h.SilentS >= 0 { // an earlier release says -1 for what it does not know
			list[h.Name] = *h.SilentS
		}
	}
	return list
}
