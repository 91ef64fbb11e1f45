package core

// MayForward says whether a host may have its leader enter the command: its own
// word about copies and moves on itself, a new start of the guest that is its
// own to start (see Assign), and orders of the people whom it has identified.
// What only a leader decides (who is gone, who is to run what runs nowhere, the
// site's hosts and guests) is never taken from another host. s is the leader's
// state.
func MayForward(s State, host string, c Command) bool {
	if c.By.Role != RoleHost {
		return c.BeginMove != nil || c.SetMaintenance != nil || c.SetWanted != nil
	}
	if c.By.Name != host {
		return false
	}
	switch {
	case c.ReportStopped != nil:
		return c.ReportStopped.Host == host
	case c.Assign != nil:
		_, may := s.Guests[c.Assign.Guest].MayRun[host]
		return may && c.Assign.To == host
	}
	return c.DestinationReady != nil || c.FinishMove != nil || c.MoveInDoubt != nil
}
