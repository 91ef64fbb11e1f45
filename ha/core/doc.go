// Package core decides who runs what. It is two pure machines:
//
//	Apply(State, Command) (State, Result)                 replicated truth, in log order, without a clock
//	Step(Agent, now, Event) (Agent, []Action)             one host's local timing, on its monotonic clock
//
// # Copies, epochs and MayRun
//
// A copy of a guest is one hypervisor process. Every copy is created under an
// epoch of its guest, and no epoch is ever used for two copies: the log
// allocates a new one for each Assign (a cold start) and each BeginMove (the
// destination's copy). Guest.Copy is the epoch of the copy that is meant to
// run; Guest.MayRun holds, for each host on which a copy may still exist, the
// highest epoch under which it may have been created. A guest is started on a
// host only when no other host is left in MayRun, and a host leaves MayRun on
// proof only: its own word (ReportStopped), a fence or the whole waiting
// period (HostGone), or the end of a move (FinishMove).
//
// # A move, as the log sees it
//
//	          BeginMove            DestinationReady
//	(settled) ---------> preparing ----------------> ready ------------+
//	    ^                    |                         |               | MoveInDoubt: COMMIT was sent,
//	    |  refused, failed   |     moved, rolled-back, |               v no RUNNING came back
//	    +--------------------+----- refused, failed ---+           in-doubt
//	    |                                                              |
//	    +--- moved (the destination runs) | rolled-back (it is proved that it does not) ---+
//
// The source copy may resume by itself only before COMMIT. Afterwards it waits
// for the log: FinishMove(moved) ends it; ReportStopped or HostGone of the
// destination gives it back the right to run.
//
// What was proposed may be entered into the log at any later time. So a host
// stands by its word: a source that gave a move up never begins it, a host that
// reported a copy stopped never creates it, a destination that has seen its copy
// run never says that it did not, and a leader that proposed HostGone grants that
// host nothing until the log has taken it.
//
// # Lease, watchdog, takeover
//
// A host's copies may live only while the host holds a lease of Timing.Lease,
// counted from the moment at which it asked. Without one it kills every copy
// (paused and incoming ones too) and does not pet the watchdog while one is
// alive, so that whatever happens no copy outlives the lease by more than the
// watchdog's timeout and the reset. See Timing.WaitingPeriod.
//
// A restarted daemon has lost its lease but finds its guests alive. It neither
// kills them nor pets the watchdog until its first lease, for at most one
// lease time; then it kills them. This is safe without knowing the former
// lease: the former daemon never petted after that lease had run out, so the
// watchdog, armed and not petted, fires within the same bound in any case.
package core
