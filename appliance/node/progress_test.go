package node

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"bumpless/appliance/api"
)

func TestWhoWatchesLateIsToldFromTheStart(t *testing.T) {
	var h progressHub
	h.publish(api.Progress{Move: "m1", Phase: "connecting"})
	h.publish(api.Progress{Move: "m2", Phase: "connecting"})
	said, more, stop := h.watch("m1")
	defer stop()
	if len(said) != 1 || said[0].Move != "m1" {
		t.Errorf("said = %+v; want the one line of m1", said)
	}
	h.publish(api.Progress{Move: "m1", Phase: "streaming"})
	if p := <-more; p.Phase != "streaming" {
		t.Errorf("next line = %+v; want streaming", p)
	}
}

func TestASlowWatcherMissesLinesAndHoldsNobodyUp(t *testing.T) {
	var h progressHub
	_, more, stop := h.watch("m")
	defer stop()
	for range watcherBacklog + 10 {
		h.publish(api.Progress{Move: "m"}) // returns although nobody reads
	}
	if len(more) != watcherBacklog {
		t.Errorf("lines that wait = %d; want %d", len(more), watcherBacklog)
	}
}

func TestWhoStoppedWatchingIsForgotten(t *testing.T) {
	var h progressHub
	_, more, stop := h.watch("m")
	stop()
	h.publish(api.Progress{Move: "m"})
	if len(h.watchers) != 0 || len(more) != 0 {
		t.Errorf("watchers %d, lines %d; want none", len(h.watchers), len(more))
	}
}

func TestWhatIsKeptOfMovesIsBoundedAndKeepsTheResult(t *testing.T) {
	var h progressHub
	for i := range keptMoves + 3 {
		for range keptLines + 5 {
			h.publish(api.Progress{Move: fmt.Sprint(i)})
		}
		h.publish(api.Progress{Move: fmt.Sprint(i), Result: json.RawMessage("{}")})
	}
	if len(h.kept) != keptMoves || len(h.order) != keptMoves {
		t.Errorf("moves kept = %d, %d in order; want %d", len(h.kept), len(h.order), keptMoves)
	}
	lines := h.kept[fmt.Sprint(keptMoves+2)]
	if len(lines) != keptLines+1 || lines[keptLines].Result == nil {
		t.Errorf("lines kept = %d; want %d and the result", len(lines), keptLines)
	}
	if _, kept := h.kept["0"]; kept {
		t.Error("the oldest move is kept; want the newest ones")
	}
}

func TestFollowingAMoveEndsWithItsResult(t *testing.T) {
	n := newTestNode(t)
	n.progress.publish(api.Progress{Move: "m", Phase: "connecting"})
	n.progress.publish(api.Progress{Move: "m", Phase: "ended", Result: json.RawMessage("{}")})
	var got []api.Progress
	err := n.LocalProgress(context.Background(), api.ProgressRequest{Move: "m"}, func(p api.Progress) { got = append(got, p) })
	if err != nil || len(got) != 2 || got[0].Final || !got[1].Final {
		t.Errorf("LocalProgress() = %+v, %v; want two lines, the second one final", got, err)
	}
}
