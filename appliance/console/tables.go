package console

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"bumpless/appliance/api"
)

// table writes rows with their columns aligned.
func table(w io.Writer, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	_ = t.Flush() // a Screen does not fail
}

func printStatus(w io.Writer, s api.Status) {
	fmt.Fprintf(w, "site %s, host %s; leader %s, log entry %d\n", s.Site, s.Host, cmp.Or(s.Leader, "none known"), s.Index)
	if warning := age(s); warning != "" {
		fmt.Fprintln(w, warning)
	}
	if runsGuests(s) {
		fmt.Fprintf(w, "lease: %.1f s left\n", s.LeaseLeftS)
	}
	if s.WatchdogWithheld != "" {
		fmt.Fprintf(w, "watchdog: WITHHELD, this host will be reset: %s\n", s.WatchdogWithheld)
	}
	fmt.Fprintf(w, "%s\n", s.WaitingPeriod)
	if s.Index == 0 {
		return
	}
	fmt.Fprintln(w)
	rows := [][]string{{"HOST", "ROLE", "SERVICE", "MEMORY MiB", "FREE MiB", "SILENT"}}
	for _, h := range s.Hosts {
		memory, free := "-", "-"
		if h.MemoryMiB > 0 {
			memory, free = fmt.Sprint(h.MemoryMiB), fmt.Sprint(h.FreeMemoryMiB)
		}
		rows = append(rows, []string{h.Name, h.Role, h.Service, memory, free, silence(h)})
	}
	table(w, rows)
	if slices.ContainsFunc(s.Hosts, silenceUnknown) {
		fmt.Fprintln(w, "SILENT is known to the leader only: "+whomToAsk(s))
	}
	fmt.Fprintln(w)
	printGuests(w, s.Guests)
}

// runsGuests tells whether the answering host needs a lease: a witness does not.
func runsGuests(s api.Status) bool { return slices.Contains(serverNames(s), s.Host) }

// silence of a host: since its last lease, in seconds. A witness has none.
func silence(h api.HostStatus) string {
	switch {
	case silenceUnknown(h):
		return "unknown"
	case h.SilentS == nil || *h.SilentS < 0:
		return "-"
	}
	return fmt.Sprintf("%.1f s", *h.SilentS)
}

// silenceUnknown: the host may be dead, and the answer does not tell. A daemon of
// an earlier release says -1.
func silenceUnknown(h api.HostStatus) bool {
	return h.Role == "server" && (h.SilentS == nil || *h.SilentS < 0)
}

// whomToAsk for what only the leader knows.
func whomToAsk(s api.Status) string {
	if s.Leader == "" || s.Leader == s.Host {
		return "ask each host which one leads, and that one again"
	}
	return fmt.Sprintf("%s does not answer %s, ask on %s itself", s.Leader, s.Host, s.Leader)
}

func printGuests(w io.Writer, guests []api.Guest) {
	if len(guests) == 0 {
		fmt.Fprintln(w, "no guests")
		return
	}
	rows := [][]string{{"GUEST", "RUNS ON", "HERE", "BUDGET", "MEMORY MiB", "GROUP", "MOVE"}}
	for _, g := range guests {
		owner := cmp.Or(g.Owner, "-")
		if !g.Wanted {
			owner += " (not wanted)"
		}
		move := "-"
		if g.Move != "" {
			move = fmt.Sprintf("to %s: %s", g.MoveTo, g.MovePhase)
		}
		rows = append(rows, []string{g.Name, owner, cmp.Or(g.Here, "-"), fmt.Sprintf("%d ms", g.BudgetMs), fmt.Sprint(g.MemoryMiB), cmp.Or(g.Group, "-"), move})
	}
	table(w, rows)
}

func printEvent(w io.Writer, e api.Event) {
	at := "-"
	if e.AtMs > 0 {
		at = time.UnixMilli(e.AtMs).UTC().Format("2006-01-02T15:04:05.000Z")
	}
	about := ""
	for _, f := range []struct{ name, value string }{{"guest", e.Guest}, {"host", e.Host}, {"move", e.Move}} {
		if f.value != "" {
			about += "  " + f.name + "=" + f.value
		}
	}
	// One event is one line, whatever the operator's reason held.
	what := strings.ReplaceAll(e.What, "\n", " ")
	fmt.Fprintf(w, "%d  %s  %s (%s)  %s%s\n", e.Index, at, e.By, e.Role, what, about)
}
