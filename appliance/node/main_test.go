package node

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"bumpless/ha/core"
)

// asStranger in the environment makes the test binary a process that does
// nothing until its standard input ends.
const asStranger = "BUMPLESS_NODE_TEST_STRANGER"

func TestMain(m *testing.M) {
	if os.Getenv(asStranger) != "" {
		_, _ = os.Stdout.WriteString("here\n") // the test waits for it
		_, _ = io.Copy(io.Discard, os.Stdin)   // its end is what counts
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// stranger starts a harmless process with these arguments. Its end closes ended.
func stranger(t *testing.T, args ...string) (pid int, ended <-chan struct{}) {
	c := exec.Command("/proc/self/exe", args...)
	c.Env = append(os.Environ(), asStranger+"=1")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("here\n"))); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Wait() }() // killed or not, it is gone
	t.Cleanup(func() { in.Close(); <-done })
	return c.Process.Pid, done
}

// newTestNode is a daemon without a log and a network.
func newTestNode(t *testing.T) *Node {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	n := &Node{ctx: ctx, stop: cancel, log: slog.New(slog.DiscardHandler), timing: core.DefaultTiming()}
	n.watchdog = newPetting(nil, n.timing, n.log)
	n.loop = newLoop(core.New(core.Config{Self: "host-a", Role: core.Server, Timing: n.timing}, now()), func(core.Action) {})
	return n
}

const patience = 5 * time.Second
