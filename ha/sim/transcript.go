package sim

import (
	"fmt"
	"strings"

	"bumpless/ha/core"
)

// tell writes an event or action into the transcript; what comes all the time
// is left out.
func (d *daemon) tell(arrow string, what any) {
	if d.h.w.Trace == nil {
		return
	}
	text := ""
	switch e := what.(type) {
	case core.Tick, core.PetWatchdog, core.AskLease, core.GrantLease, core.LeaseRequested, core.GuestsObserved:
		return
	case core.LeaseReply:
		if e.Granted {
			return
		}
	case core.StateChanged:
		text = fmt.Sprintf("StateChanged %d", e.State.Index)
	case core.Propose:
		text = "Propose " + e.ProposalKey
	}
	if text == "" {
		text = strings.TrimPrefix(fmt.Sprintf("%T", what), "core.") + fmt.Sprintf("%+v", what)
	}
	d.h.w.say(d.h.name, "   %s %s", arrow, text)
}

// describe is a command in one line.
func describe(c core.Command) string {
	for _, part := range []any{c.RegisterHost, c.RegisterGuest, c.SetWanted, c.SetMaintenance, c.Assign, c.BeginMove,
		c.DestinationReady, c.FinishMove, c.MoveInDoubt, c.ReportStopped, c.HostGone} {
		if text := fmt.Sprintf("%+v", part); text != "<nil>" {
			return strings.TrimPrefix(fmt.Sprintf("%T", part), "*core.") + strings.TrimPrefix(text, "&") + " by " + c.By.Name
		}
	}
	return "nothing"
}
