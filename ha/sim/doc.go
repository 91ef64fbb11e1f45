// Package sim runs whole clusters of core.Agents on one goroutine, from a seed.
//
//	core.Agent  <--events--  daemon  <--delays-- processes, gateways, watchdog, power
//	    |                      ^
//	    +------actions---------+---- network (delay, loss, replay, one-way cuts) ---- log
//
// Everything around the agents is made here and follows what appliance/node,
// migrate/gateway and ha/raftlog do: which goroutine waits for which, what is
// dropped, what is written before what. Time is true time; each host sees it
// through a clock of its own that is wrong by up to Timing.DriftPPM.
//
// A run has two halves. In the first, faults come from the seed: power cuts,
// daemons that crash or freeze, gateways that die at a chosen step, guests that
// do not die, links cut one way or both, loss, replay, elections, deposed
// leaders, proposals of unknown fate, fences that lie about failure, and
// operators' orders. Then all faults end, and the cluster must come to rest.
//
// The checkers (check.go) keep books of their own, on simulated processes and
// true time. What they hold against the cluster is written at each of them.
//
// The raft library itself is not run: log.go is a linearizable log with terms,
// of which a proposer learns no more than raftlog tells. Losing the tail of a
// disk is the library's matter.
package sim
