package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bumpless/appliance/api"
	"bumpless/appliance/config"
	"bumpless/appliance/guest"
	"bumpless/ha/core"
	"bumpless/migrate/gateway"
	"bumpless/migrate/qmp/qmptest"
)

// copyHere is the monitor of a copy that was loaded and waits.
type copyHere struct {
	mu      sync.Mutex
	status  string
	refuses bool // `cont`
}

func (c *copyHere) is() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status
}

func (c *copyHere) answer(command qmptest.Command) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch command.Execute {
	case "query-status":
		return fmt.Sprintf(`{"status": %q}`, c.status), nil
	case "query-migrate":
		return `{"status": "completed"}`, nil
	case "cont":
		if c.refuses {
			return "", errors.New(`Failed to get "write" lock`)
		}
		c.status = "running"
	}
	return "", nil
}

// arriving is a host whose destination's gateway, that script, has begun.
type arriving struct {
	*Node
	copy    *copyHere
	move    core.Move
	results chan core.MoveResult
}

// grantForTest steps the agent as a grant does.
func (n *Node) grantForTest(asked time.Duration) {
	n.loop.agent, _ = core.Step(n.loop.agent, asked, core.Tick{})
	n.loop.agent, _ = core.Step(n.loop.agent, asked, core.LeaseReply{AskedAt: asked, Granted: true})
}

func newArriving(t *testing.T, phase core.Phase, script string) *arriving {
	t.Helper()
	dir, err := os.MkdirTemp("", "arr") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := newTestNode(t)
	n.self, n.site.RunDir, n.site.Move.MarginMs = config.Host{Name: "host-a"}, dir, 20
	n.hypervisor = &hypervisor{Runner: &guest.Runner{RunDir: dir}}
	n.binary = filepath.Join(dir, "gateway")
	if err := os.WriteFile(n.binary, []byte("#!/bin/sh\nread config\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	a := &arriving{Node: n, copy: &copyHere{status: "paused"}, results: make(chan core.MoveResult, 1),
		move: core.Move{ID: "g-2", Guest: "g", From: "host-b", To: "host-a", Epoch: 2, BudgetMs: 300, Phase: phase}}
	state := core.State{Index: 1, Moves: map[string]core.Move{"g": a.move}}
	n.loop.agent, _ = core.Step(n.loop.agent, now(), core.StateChanged{State: state})
	n.grantForTest(now())
	qmptest.Serve(t, n.hypervisor.MoveSocket("g", 2), a.copy.answer)
	if err := n.runGateway(a.move, destination, gateway.DestinationConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if g := n.moves.get("g-2"); g != nil {
			g.End()
		}
	})
	go func() {
		for e := range n.loop.events {
			if r, ok := e.(core.MoveResult); ok {
				a.results <- r
				return
			}
		}
	}()
	return a
}

func (a *arriving) result(t *testing.T) core.MoveResult {
	t.Helper()
	select {
	case r := <-a.results:
		return r
	case <-time.After(patience):
		t.Fatal("core is not told how the gateway ended")
		return core.MoveResult{}
	}
}

// loaded waits until the gateway's word that it is ready has come.
func (a *arriving) loaded(t *testing.T) {
	t.Helper()
	g := a.moves.get(a.move.ID)
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if g.arrival.Loaded() {
			return
		}
		if time.Now().After(end) {
			t.Fatal("the gateway did not say that it is ready")
		}
	}
}

const (
	readyThenHangs = "echo '{\"phase\":\"ready\",\"at_ms\":1}'\nexec sleep 60\n"
	readyThenDies  = "echo '{\"phase\":\"ready\",\"at_ms\":1}'\nexit 1\n"
	readyThenObeys = "echo '{\"phase\":\"ready\",\"at_ms\":1}'\nread abort\nexit 1\n"
	runsThenHangs  = "echo '{\"phase\":\"ready\",\"at_ms\":1}'\necho '{\"phase\":\"running\",\"at_ms\":2}'\nexec sleep 60\n"
)

func TestCOMMITThatIsSentAgainReplacesAGatewayThatHangs(t *testing.T) {
	a := newArriving(t, core.Ready, readyThenHangs)
	a.loaded(t)
	began := time.Now()
	answer, err := a.Commit(context.Background(), "host-b", api.CommitRequest{Move: "g-2"})
	if err != nil || !answer.Runs || a.copy.is() != "running" {
		t.Errorf("Commit() = %+v, %v, the copy is %s; want it to run", answer, err, a.copy.is())
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("Commit() took %v; want much less than a gateway is given to end by itself", took)
	}
	if r := a.result(t); r.Outcome != core.Moved {
		t.Errorf("core is told %+v; want moved, or it kills a copy that runs", r)
	}
}

func TestCOMMITFindsAGatewayThatDiedALittleEarlier(t *testing.T) {
	a := newArriving(t, core.Ready, readyThenDies)
	<-a.moves.get("g-2").Done
	answer, err := a.Commit(context.Background(), "host-b", api.CommitRequest{Move: "g-2"})
	if err != nil || !answer.Runs || a.copy.is() != "running" {
		t.Errorf("Commit() = %+v, %v, the copy is %s; want it to run", answer, err, a.copy.is())
	}
	if r := a.result(t); r.Outcome != core.Moved {
		t.Errorf("core is told %+v; want moved", r)
	}
}

func TestCOMMITThatIsTooLateChangesNothing(t *testing.T) {
	a := newArriving(t, core.Ready, readyThenDies)
	if r := a.result(t); r.Outcome != core.Failed {
		t.Fatalf("core is told %+v; want failed", r)
	}
	answer, err := a.Commit(context.Background(), "host-b", api.CommitRequest{Move: "g-2"})
	if err != nil || answer.Runs || a.copy.is() != "paused" {
		t.Errorf("Commit() = %+v, %v, the copy is %s; want it left: core may be killing it", answer, err, a.copy.is())
	}
}

func TestAMoveInDoubtRunsAtADestinationThatHasLoadedIt(t *testing.T) {
	a := newArriving(t, core.InDoubt, readyThenHangs)
	a.loaded(t)
	began := time.Now()
	a.abortMove(core.AbortMove{Move: "g-2", Why: "the destination's copy is no longer wanted"})
	if r := a.result(t); r.Outcome != core.Moved || a.copy.is() != "running" || time.Since(began) > abortGrace {
		t.Errorf("core is told %+v after %v, the copy is %s; want moved, running, and no grace", r, time.Since(began), a.copy.is())
	}
}

func TestAMoveThatIsAbortedBeforeCOMMITDoesNotRunHere(t *testing.T) {
	a := newArriving(t, core.Ready, readyThenObeys)
	a.loaded(t)
	a.abortMove(core.AbortMove{Move: "g-2", Why: "enough"})
	if r := a.result(t); r.Outcome != core.Failed || a.copy.is() != "paused" {
		t.Errorf("core is told %+v, the copy is %s; want failed, and paused", r, a.copy.is())
	}
}

func TestAGatewayThatRunsItsGuestIsLeftAlone(t *testing.T) {
	a := newArriving(t, core.Ready, runsThenHangs)
	a.loaded(t)
	answer, err := a.Commit(context.Background(), "host-b", api.CommitRequest{Move: "g-2"})
	if err != nil || !answer.Runs {
		t.Errorf("Commit() = %+v, %v; want that it runs", answer, err)
	}
	select {
	case <-a.moves.get("g-2").Done:
		t.Error("the gateway was ended")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestACopyThatRefusesToRunIsNotReportedAsMoved(t *testing.T) {
	a := newArriving(t, core.Ready, readyThenHangs)
	a.copy.refuses = true
	a.loaded(t)
	answer, err := a.Commit(context.Background(), "host-b", api.CommitRequest{Move: "g-2"})
	if err != nil || answer.Runs || !strings.Contains(answer.Why, "lock") {
		t.Errorf("Commit() = %+v, %v; want QEMU's refusal", answer, err)
	}
	if r := a.result(t); r.Outcome != core.Failed {
		t.Errorf("core is told %+v; want failed", r)
	}
}

func TestAHostWithoutALeaseRunsNothingOnCOMMIT(t *testing.T) {
	a := newArriving(t, core.Ready, readyThenHangs)
	a.loaded(t)
	a.loop.mu.Lock()
	a.loop.agent = core.New(core.Config{Self: "host-a", Role: core.Server, Timing: a.timing}, now())
	a.loop.agent, _ = core.Step(a.loop.agent, now(), core.StateChanged{State: core.State{Index: 1, Moves: map[string]core.Move{"g": a.move}}})
	a.loop.mu.Unlock()
	answer, err := a.Commit(context.Background(), "host-b", api.CommitRequest{Move: "g-2"})
	if err != nil || answer.Runs || a.copy.is() != "paused" {
		t.Errorf("Commit() = %+v, %v, the copy is %s; want it left paused", answer, err, a.copy.is())
	}
}

func TestOnlyTheSourceSaysCOMMIT(t *testing.T) {
	a := newArriving(t, core.Ready, readyThenHangs)
	a.loaded(t)
	for host, move := range map[string]string{"host-c": "g-2", "host-a": "g-2", "host-b": "g-3"} {
		var refused *api.Refusal
		if _, err := a.Commit(context.Background(), host, api.CommitRequest{Move: move}); !errors.As(err, &refused) {
			t.Errorf("Commit() of %s by %s = %v; want a refusal", move, host, err)
		}
	}
	if a.copy.is() != "paused" {
		t.Error("the copy runs")
	}
}

func TestWithoutAMarkerThatWasSeenCOMMITIsNotSentAgain(t *testing.T) {
	n := newTestNode(t)
	n.site.RunDir = t.TempDir()
	m := core.Move{ID: "g-2", To: "host-b"}
	dir := n.moveDir(m.ID)
	if err := os.MkdirAll(filepath.Dir(string(dir)), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(dir), nil, 0o600); err != nil { // no directory: it cannot be looked for
		t.Fatal(err)
	}
	var log strings.Builder
	n.log = slog.New(slog.NewTextHandler(&log, nil))
	if n.commitAgain(m) || log.String() != "" {
		t.Errorf("COMMIT was sent again: %s; want the source to stay silent", &log)
	}
}
