package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bumpless/ha/core"
	"bumpless/migrate/qmp/qmptest"
)

// stubbornMonitor is the monitor of a copy that will not continue. It counts
// the attempts.
func stubbornMonitor(t *testing.T, path string) *atomic.Int32 {
	t.Helper()
	attempts := new(atomic.Int32)
	qmptest.Serve(t, path, func(qmptest.Command) (string, error) {
		attempts.Add(1)
		return "", errors.New("not now")
	})
	return attempts
}

func newResumeNode(t *testing.T) *Node {
	dir, err := os.MkdirTemp("", "nd") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	n := newTestNode(t)
	n.site.RunDir = dir
	n.hypervisor = newHypervisor(n.site, n.self)
	return n
}

func TestContinuingASourceEndsWithItsOrder(t *testing.T) {
	n := newResumeNode(t)
	attempts := stubbornMonitor(t, filepath.Join(n.site.RunDir, "g", "main1.7", "qmp.sock"))
	began := now()
	n.resumeSource(core.ResumeSource{Guest: "main1", Epoch: 7, NotAfter: began + 100*time.Millisecond})
	if took := now() - began; took < 100*time.Millisecond || took > resumeTimeout/2 {
		t.Errorf("tried for %v; want about 100 ms, the order's time", took)
	}
	if attempts.Load() < 2 {
		t.Errorf("attempts = %d; want it tried again while the order holds", attempts.Load())
	}
}

func TestAnOrderToContinueThatHasEndedIsNotTried(t *testing.T) {
	n := newResumeNode(t)
	attempts := stubbornMonitor(t, filepath.Join(n.site.RunDir, "g", "main1.7", "qmp.sock"))
	n.resumeSource(core.ResumeSource{Guest: "main1", Epoch: 7, NotAfter: now() - time.Millisecond})
	if attempts.Load() != 0 {
		t.Errorf("attempts = %d after the order's end; want 0", attempts.Load())
	}
}

func TestNothingIsStartedOnAHostWhoseWatchdogIsNotArmed(t *testing.T) {
	n := newResumeNode(t)
	n.hypervisor.Binary = "/nonexistent"
	n.watchdog = newPetting((&fakeDevice{}).open, core.Timing{WatchdogTimeout: 20 * time.Millisecond}, n.log)
	err := n.start("main1", 7, now()+time.Minute, false)
	if err == nil || !strings.Contains(err.Error(), "not armed") {
		t.Errorf("start() = %v; want that the watchdog is not armed", err)
	}
}
