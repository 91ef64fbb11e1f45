// Package node is a host's daemon. It owns no decision: every observation of
// the host becomes a core.Event, core.Step answers with core.Actions, and this
// package carries them out.
//
//	raft log ---StateChanged---+            +--> lease.go     ask and grant leases
//	processes --GuestsObserved-+            +--> copies.go    start, kill, continue copies
//	gateways ---MoveResult-----+-> Step() --+--> moves.go     prepare, run, abort moves
//	peers ------LeaseRequested-+            +--> petting.go   pet or withhold
//	clock ------Tick-----------+            +--> propose.go   enter commands into the log
//
// loop.go is the only goroutine that touches the Agent. Everything slow runs
// beside it, keyed by Action.Key, and comes back as an Event.
//
// expect.go starts a source's gateway while the destination is prepared: core does not
// count it, and a move goes on without it.
//
// traces.go records what a guest dirties, for people and not for core. It uses the
// monitor that moves use, and gives way to them.
//
// ear.go listens to a guest that came, and waking.go remembers how long it was not heard:
// the gateways' next budget is shorter by that. Core does not know of it either.
//
// The daemon may die at any time: guests, gateways and the holder of the
// watchdog's device (holder.go) are processes of their own. What it needs to find them again is in the run directory, which does
// not outlive the host, as they do not.
package node
