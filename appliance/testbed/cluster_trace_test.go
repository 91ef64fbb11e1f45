package testbed

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/policy"
	"bumpless/migrate/replay"
)

// bumpless runs a command line on a host, as its root would.
func (c *testCluster) bumpless(host string, words ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := c.Bed.Host(host).Exec(ctx, append([]string{c.options.Binary, "--site", c.SiteFile()}, words...)...)
	return string(out), err
}

func TestE2EARunningGuestIsTracedAndRunsOn(t *testing.T) {
	c := newTestCluster(t)
	from := time.Now()
	before := c.verified(hostA).Report
	out, err := c.bumpless(hostA, "trace", guest1, "--seconds", "3", "-o", DiskDir+"/t.trace")
	must(t, err)
	t.Log(strings.TrimSpace(out))
	if after := c.verified(hostA).Report; after.BootID != before.BootID {
		t.Errorf("boot id %x, before the trace %x; want the same", after.BootID, before.BootID)
	}
	if gap, _ := c.since(from).LargestGap(); gap > testBudget {
		t.Errorf("a gap of %v in the guest's frames; want none above %v: it is not stopped", gap, testBudget)
	}
	file, err := os.ReadFile(filepath.Join(c.Bed.Host(hostA).Dir, "t.trace"))
	must(t, err)
	trace, err := replay.Decode(file)
	must(t, err)
	if length := trace.Passes[len(trace.Passes)-1].At - trace.Passes[0].At; length < 3*time.Second || len(trace.Passes) < 20 {
		t.Errorf("%v in %d passes; want 3 s or more, several passes a second", length, len(trace.Passes))
	}
	for _, name := range policy.Names() {
		if f, err := replay.Run(trace, name, replay.Defaults()); err != nil || f.Outcome != replay.Moved {
			t.Errorf("replay by %s: %+v, %v; want moved", name, f, err)
		}
	}

	// Only the host that runs the guest can trace it, and says where that is.
	if out, err := c.bumpless(hostB, "trace", guest1, "-o", DiskDir+"/u.trace"); err == nil || !strings.Contains(out, "runs on host-a") {
		t.Errorf("trace on host-b = %q, %v; want the guest's host named", out, err)
	}

	// A move has the right of way, and the guest can move after a trace.
	ended := make(chan string, 1)
	go func() {
		out, err := c.bumpless(hostA, "trace", guest1, "--seconds", "40", "-o", DiskDir+"/v.trace")
		if err == nil {
			out = "it was recorded: " + out
		}
		ended <- out
	}()
	time.Sleep(2 * time.Second)
	if last := c.move(hostB); last.Outcome != "moved" {
		t.Errorf("the move ended %q (%s); want moved", last.Outcome, last.Reason)
	}
	if out := <-ended; !strings.Contains(out, "a move of the guest begins") {
		t.Errorf("the trace = %q; want it ended by the move", out)
	}
	if after := c.verified(hostB).Report; after.BootID != before.BootID {
		t.Errorf("boot id %x, before the trace %x; want the same", after.BootID, before.BootID)
	}
}
