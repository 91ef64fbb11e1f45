package testbed

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/appliance/api"
	"bumpless/appliance/testbed/protection"
)

// newDiskCluster is a cluster whose guest has a local disk.
func newDiskCluster(t *testing.T) *testCluster {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err, binary)
	}
	dir, err := os.MkdirTemp("", "bl-") // short: a socket's path has 108 bytes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Mkdir(filepath.Join(dir, hostA), 0o700))
	makeImage(t, filepath.Join(dir, hostA, filepath.Base(LocalDisk(guest1))))
	s := protection.Defaults()
	s.DiskMiB = diskMiB
	c, err := NewCluster(ClusterOptions{Dir: dir, Binary: binary, Kernel: guestFile(t, "guest-vmlinuz"), Initrd: guestFile(t, "guest-initrd"),
		Hosts: []string{hostA, hostB, WitnessHost}, Timing: DefaultTiming(), LinkBitsPerS: 1_000_000_000, Policy: "bumpless", MarginMs: 100, WakingMs: WakingMs,
		Guests: []GuestOptions{{Name: guest1, MemoryMiB: 160, BudgetMs: int(testBudget.Milliseconds()), Preferred: hostA, Settings: s, DiskMiB: diskMiB}}})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.logs())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return &testCluster{Cluster: c, t: t, settings: s}
}

// diskVerified waits until the guest, heard from that host, has read its whole
// disk from now on.
func (c *testCluster) diskVerified(host string) Sighting {
	c.t.Helper()
	from := time.Now()
	start, err := c.Observer.Wait(c.settings.GocbRef, 2*time.Minute, func(s Sighting) bool { return s.At.After(from) && s.Source == host })
	must(c.t, err)
	last, err := c.Observer.Wait(c.settings.GocbRef, time.Minute, func(s Sighting) bool { return s.Report.DiskPasses >= start.Report.DiskPasses+2 })
	must(c.t, err)
	if last.Report.DiskCorrupt != 0 || last.Report.CorruptPages != 0 || last.Source != host {
		c.t.Fatalf("the guest on %s reports %+v; want nothing corrupt, on %s", last.Source, last.Report, host)
	}
	return last
}

func TestE2EAGuestTakesItsLocalDiskAlongAndIsNeverStartedWithoutIt(t *testing.T) {
	c := newDiskCluster(t)
	c.diskVerified(hostA)
	if last := c.move(hostB); last.Outcome != "moved" {
		t.Fatalf("the move ended %q (%s); want moved", last.Outcome, last.Reason)
	}
	before := c.diskVerified(hostB)

	// Its host is lost: host-a's image is a former stay's, and stays unused.
	cut := time.Now()
	must(t, c.Bed.PowerCut(hostB))
	_, err := c.Wait(time.Minute, "the proof that host-b has stopped", func(s api.Status) bool {
		return len(s.Guests) == 1 && s.Guests[0].Owner == ""
	})
	must(t, err)
	time.Sleep(3 * time.Second) // a leader places a guest within a tick of half a second
	if seen := c.Observer.Between(c.settings.GocbRef, cut.Add(time.Second), time.Now()); len(seen) > 1 {
		t.Fatalf("the guest runs on %s without what it wrote on host-b", seen.Source())
	}
	if why := c.explained(); !strings.Contains(why, "local disk is on host "+hostB+" only") {
		t.Errorf("explain says %q; want it to name the disk and its host", why)
	}

	// The host is back: the guest starts there, and every block is as it was.
	must(t, c.PowerOn(hostB))
	after := c.diskVerified(hostB)
	if after.Report.BootID == before.Report.BootID {
		t.Error("the guest was not booted again; what was tested?")
	}
	t.Logf("back after %v with its disk", after.At.Sub(cut))
}

// explained asks for the reasons of the guest's place, on the leader.
func (c *testCluster) explained() (why string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, host := range []string{hostA, WitnessHost} {
		list, err := c.Client(host).Explain(ctx, api.ExplainRequest{Guest: guest1})
		must(c.t, err)
		for _, e := range list {
			why += e.Text + string(e.Detail) + "\n"
		}
	}
	return why
}
