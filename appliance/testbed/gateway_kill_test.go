package testbed

import (
	"testing"
	"time"

	"bumpless/migrate/gateway"
)

// killBudgetMs leaves time to kill something in a phase: the gateways wait
// there, and one that waits sees nothing else, so that it ends with the budget.
const killBudgetMs = 1500

// fatality is a process that is killed in a phase of a move.
type fatality struct {
	victim  string        // what is killed
	pausing string        // the gateway that waits in the phase
	phase   gateway.Phase // in which it is killed
	outcome gateway.Outcome
	to      bool // RUNNING was reached: the guest is at the destination
}

// Whoever dies before RUNNING leaves a copy at the destination that never ran,
// and the guest goes on at the source.
var fatalities = []fatality{
	{"source gateway", "source", gateway.Streaming, "", false},
	{"source gateway", "source", gateway.Stopped, "", false},
	{"source gateway", "source", gateway.Draining, "", false},
	{"source gateway", "source", gateway.AtReady, "", false},
	{"source gateway", "source", gateway.Committed, "", false},
	{"source's daemon", "source", gateway.Draining, "", false},
	{"destination gateway", "destination", gateway.Streaming, gateway.Failed, false},
	{"destination gateway", "source", gateway.Stopped, gateway.RolledBack, false},
	{"destination gateway", "destination", gateway.Draining, gateway.RolledBack, false},
	{"destination gateway", "destination", gateway.AtReady, gateway.RolledBack, false},
	{"destination gateway", "destination", gateway.Committed, gateway.InDoubt, false},
	{"destination QEMU", "source", gateway.Streaming, gateway.Failed, false},
	{"destination QEMU", "destination", gateway.Draining, gateway.RolledBack, false},
	{"destination QEMU", "source", gateway.AtReady, gateway.RolledBack, false},
	{"destination QEMU", "destination", gateway.Committed, gateway.InDoubt, false},
	{"source gateway", "source", gateway.Running, gateway.Moved, true},
}

func TestE2EWhateverDiesTheGuestRunsInExactlyOnePlace(t *testing.T) {
	r := newRig(t, 500)
	r.boot()
	for _, f := range fatalities {
		t.Run(f.victim+" in "+string(f.phase), func(t *testing.T) {
			r.t = t
			m := r.begin(func(s *gateway.SourceConfig, d *gateway.DestinationConfig) {
				s.BudgetMs = killBudgetMs
				if f.pausing == "source" {
					s.PauseAt = f.phase
				} else {
					d.PauseAt = f.phase
				}
			})
			if !m.strike(f) {
				source, destination := m.settle() // the next one begins with a guest that runs
				t.Fatalf("the %s gateway ended before %s: source %+v, destination %+v", f.pausing, f.phase, source, destination)
			}
			struck := time.Now()
			source, _ := m.settle()
			outcome := gateway.Outcome("")
			if source != nil {
				outcome = source.Outcome
			}
			// After RUNNING it may or may not have had time for its last line.
			if outcome != f.outcome && !f.to {
				t.Errorf("the source says %+v; want outcome %q", source, f.outcome)
			}
			where := m.from
			if f.to {
				where = m.to
			}
			m.runsOnlyOn(where)
			// Once something has died the guest is not out for long: either the
			// gateway sees it, or the daemon does.
			seen := m.observer.Between(m.settings.GocbRef, struck, time.Now())
			if gap, _ := seen.LargestGap(); gap > resumeWait {
				t.Errorf("the guest was out for %v; want at most %v", gap, resumeWait)
			}
		})
	}
}

// strike waits for the phase and kills the victim in it; false: there was no such
// phase.
func (m *move) strike(f fatality) bool {
	m.t.Helper()
	side := map[string]*side{"source": m.source, "destination": m.destination}[f.pausing]
	e := side.until(string(f.phase), func(e gateway.Event) bool {
		return e.Phase == f.phase || e.Result != nil
	})
	if e == nil || e.Result != nil {
		return false
	}
	time.Sleep(30 * time.Millisecond) // into the phase: `stop` has been answered, say
	switch f.victim {
	case "source gateway":
		m.source.kill()
	case "destination gateway":
		m.destination.kill()
	case "source's daemon": // its ends of the pipes go with it
		m.source.stdout.Close()
		m.source.stdin.Close()
	case "destination QEMU":
		m.kill(m.to, m.incoming)
		if f.phase == gateway.Committed || f.pausing == "destination" {
			m.destination.stdin.Close() // ends the pause
		}
	}
	return true
}
