package gateway

import (
	"context"
	"strings"
	"testing"
)

// The time is the destination's, whatever the source thinks; a source alone has its own.
func TestWhatItTakesUntilAGuestIsHeardIsKeptOfTheBudget(t *testing.T) {
	for _, c := range []struct {
		name               string
		source, said, want int
	}{
		{"neither knows", 0, 0, 0},
		{"the site's", 700, 0, 700},
		{"the destination's", 700, 650, 650},
		{"beyond any budget of a site file", 10, MaxWakingMs + 1, MaxWakingMs},
	} {
		b := newBench(t)
		b.source.BudgetMs, b.source.WakingMs, b.destination.WakingMs = MaxWakingMs+1000, c.source, c.said
		told := -1
		b.onEvent = func(side string, e Event) {
			if side == "source" && e.Phase == Stopped {
				told = e.WakingMs
			}
		}
		b.begin()
		if r := b.result(0); r.Outcome != Moved || r.WakingMs != c.want || told != c.want {
			t.Errorf("%s: %s %q with %d ms kept, the daemon is told of %d; want %d", c.name, r.Outcome, r.Reason, r.WakingMs, told, c.want)
		}
		b.result(1)
	}
}

func TestALinkThatStallsIsRolledBackBeforeTheGuestWouldBeHeardTooLate(t *testing.T) {
	b := newBench(t)
	b.source.BudgetMs, b.destination.WakingMs = 1050, 800
	b.ask = func(context.Context) error { b.valve.close(); return nil }
	b.begin()
	r := b.result(0)
	if r.Outcome != RolledBack || r.StopMs < 200 || r.StopMs > 700 || !strings.Contains(r.Reason, "the budget of 1050 ms less the margin of 50 ms and 800 ms until the guest is heard is over") {
		t.Errorf("%s after %.1f ms: %q; want rolled back after 200 ms", r.Outcome, r.StopMs, r.Reason)
	}
	b.guest("src")
	b.valve.open()
	b.result(1)
}

func TestAGuestThatCouldNotBeHeardInTimeIsNotMoved(t *testing.T) {
	b := newBench(t)
	b.source.BudgetMs, b.destination.WakingMs = 300, 250
	b.onEvent = func(side string, e Event) {
		if side == "source" && e.Phase == Streaming {
			t.Error("its memory is sent")
		}
	}
	b.begin()
	const want = "the guest is heard 250 ms after it runs at host dst: with a margin of 50 ms that leaves nothing of the budget of 300 ms; needs a budget of more than 300 ms"
	if r := b.result(0); r.Outcome != Refused || r.Reason != want {
		t.Errorf("%s %q; want refused: %s", r.Outcome, r.Reason, want)
	}
	b.guest("src")
	b.result(1)
}

func TestABudgetThatLeavesNothingForTheStopIsRefused(t *testing.T) {
	for waking, want := range map[int]string{
		0: "", 269: "",
		270: "the guest is heard 270 ms after it runs at host dst: with a margin of 30 ms that leaves nothing of the budget of 300 ms; needs a budget of more than 300 ms",
	} {
		if got := orText(HeardInTime("dst", 300, 30, waking), ""); got != want {
			t.Errorf("heard after %d ms: %q; want %q", waking, got, want)
		}
	}
}
