// Package raftlog replicates core.State with hashicorp/raft and raft-boltdb.
// It is a thin bridge: what a command means is decided in core.Apply, and
// nothing is decided here.
//
// What it guarantees to the agents that act upon it:
//
//   - Propose returns once the command has been applied on this host, or says
//     whether it may still be applied (ErrUnknownFate) or never will be.
//   - A subscriber sees states in order, newest wins, and never a leadership
//     that overtakes the state it rests on: leadership is announced only after
//     a barrier.
//   - Confirm proves that this host leads at a moment AFTER the call. raft's
//     own VerifyLeader does not: it also counts an answer to an older request
//     that waited in a socket's buffer while the process was frozen, which
//     would let a deposed leader that thaws grant a lease.
//
// Hosts talk over mutual TLS 1.3 with the certificates of the site; a peer's
// certificate must carry the name of a configured host, and the right one.
package raftlog
