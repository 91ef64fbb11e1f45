package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/appliance/guest"
	"bumpless/ha/core"
	"bumpless/migrate/gateway"
)

// notes is a gateway that writes down what it is told, until that ends.
const notes = `#!/bin/sh
echo $$ >>%[1]s/pids
while read line; do echo "$$ $line" >>%[1]s/lines; done
`

var coming = core.Move{ID: "m", Guest: "g", From: "host-a", To: "host-b", Epoch: 3, Phase: core.Preparing, BudgetMs: 300}

// expecting is a node with a copy of g, which has the process id, whose log knows the
// move; its gateways write to dir.
func expecting(t *testing.T) (n *Node, dir string, pid int) {
	t.Helper()
	n, dir = newTestNode(t), t.TempDir()
	n.site.RunDir = t.TempDir()
	n.hypervisor = &hypervisor{Runner: &guest.Runner{RunDir: n.site.RunDir}}
	n.binary = filepath.Join(dir, "gateway")
	if err := os.WriteFile(n.binary, []byte(fmt.Sprintf(notes, dir)), 0o700); err != nil {
		t.Fatal(err)
	}
	socket := n.hypervisor.MoveSocket("g", 2)
	pid, _ = stranger(t, "socket,id=qmp,path="+filepath.Join(filepath.Dir(socket), "qmp"))
	n.logSays(coming)
	t.Cleanup(func() {
		n.stop()
		n.moves.abandon()
		n.jobs.wait.Wait()
	})
	return n, dir, pid
}

func (n *Node) logSays(m core.Move) {
	agent, _ := core.Step(core.New(core.Config{Self: "host-a", Role: core.Server, Timing: n.timing}, now()), now(),
		core.StateChanged{State: core.State{Index: 1, Moves: map[string]core.Move{m.Guest: m}, Guests: map[string]core.Guest{}}})
	n.loop.mu.Lock()
	defer n.loop.mu.Unlock()
	n.loop.agent = agent
}

// within patience the file has so many lines.
func linesOf(t *testing.T, path string, want int) []string {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(path) // it may not be there yet
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) == want && lines[0] != "" {
			return lines
		}
		if time.Now().After(limit) {
			t.Fatalf("%s: %q; want %d lines", filepath.Base(path), text, want)
		}
	}
}

func TestAMoveBeginsWithTheGatewayThatExpectsIt(t *testing.T) {
	n, dir, pid := expecting(t)
	n.jobs.run("expect", func() { n.expectMove(core.ExpectMove{Move: coming, Epoch: 2}) })
	first := linesOf(t, filepath.Join(dir, "lines"), 1)[0]
	if want := fmt.Sprintf(`{"expected_pid":%d}`, pid); !strings.HasSuffix(first, want) {
		t.Errorf("the gateway is told %s; want %s", first, want)
	}
	if err := n.runGateway(coming, source, gateway.SourceConfig{Move: "m"}); err != nil {
		t.Fatal(err)
	}
	lines := linesOf(t, filepath.Join(dir, "lines"), 2)
	if !strings.Contains(lines[1], `"move":"m"`) {
		t.Errorf("then it is told %s; want its configuration", lines[1])
	}
	linesOf(t, filepath.Join(dir, "pids"), 1)
}

func TestAGatewayThatExpectsAMoveEndsWithIt(t *testing.T) {
	n, dir, _ := expecting(t)
	done := make(chan struct{})
	go func() { defer close(done); n.expectMove(core.ExpectMove{Move: coming, Epoch: 2}) }()
	linesOf(t, filepath.Join(dir, "lines"), 1)
	over := coming
	over.Phase = core.Finished
	n.logSays(over)
	ends(t, done)
	if g := n.expected.begin("m"); g != nil {
		t.Error("a gateway that was ended would be handed the next move")
	}
}

// The log may say nothing for long, as on a host that is cut off.
func TestAGatewayThatExpectsAMoveEndsWhenTheDestinationTakesTooLong(t *testing.T) {
	n, dir, _ := expecting(t)
	n.timing.PrepareTimeout = time.Second
	done := make(chan struct{})
	go func() { defer close(done); n.expectMove(core.ExpectMove{Move: coming, Epoch: 2}) }()
	linesOf(t, filepath.Join(dir, "lines"), 1)
	ends(t, done)
}

func ends(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the gateway still waits")
	}
}

// A gateway that has died, or an order that comes late, costs a move nothing.
func TestAMoveBeginsWithoutAGatewayThatExpectsIt(t *testing.T) {
	n, dir, _ := expecting(t)
	dead, err := spawnGateway("/bin/true", source, dir)
	if err != nil {
		t.Fatal(err)
	}
	<-dead.Done
	if _, err := n.expected.start("m", func() (*gatewayProcess, error) { return dead, nil }); err != nil {
		t.Fatal(err)
	}
	if err := n.moveDir("m").create(); err != nil {
		t.Fatal(err)
	}
	if err := n.runGateway(coming, source, gateway.SourceConfig{Move: "m"}); err != nil {
		t.Fatal(err)
	}
	linesOf(t, filepath.Join(dir, "lines"), 1)
	n.expectMove(core.ExpectMove{Move: coming, Epoch: 2}) // returns at once
	linesOf(t, filepath.Join(dir, "pids"), 1)
}
