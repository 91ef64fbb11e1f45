package testbed

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/appliance/guest"
	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/gateway"
	"bumpless/migrate/qmp"
)

// diskMiB of a test's images; the guest uses all of it.
const diskMiB = 8

// diskRig is a rig whose guest has one disk.
func diskRig(t *testing.T, src, dst guest.Disk) *rig {
	t.Helper()
	r := newRig(t, 500)
	r.settings.DiskMiB = diskMiB
	for host, d := range map[string]guest.Disk{srcHost: src, dstHost: dst} {
		spec := r.runners[host].Specs[rigGuest]
		spec.Cmdline = BootLine + " " + r.settings.CommandLine()
		spec.Disks = []guest.Disk{d}
		r.runners[host].Specs[rigGuest] = spec
	}
	makeImage(t, src.Path)
	return r
}

func makeImage(t *testing.T, path string) {
	t.Helper()
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Truncate(path, diskMiB<<20))
}

// bootDisk boots and waits until the whole disk has been written and verified.
func (r *rig) bootDisk() {
	r.t.Helper()
	r.boot()
	_, err := r.observer.Wait(r.settings.GocbRef, time.Minute, func(s Sighting) bool { return s.Report.DiskPasses >= 1 })
	must(r.t, err)
}

// diskProves waits until the guest has read its whole disk from now on, has
// written to it too, and has found nothing wrong.
func (r *rig) diskProves(host string) {
	r.t.Helper()
	start, ok := r.observer.Last(r.settings.GocbRef)
	if !ok {
		r.t.Fatal("the guest was never seen")
	}
	last, err := r.observer.Wait(r.settings.GocbRef, time.Minute, func(s Sighting) bool {
		return s.Report.DiskPasses >= start.Report.DiskPasses+2 && s.Report.DiskWritten > start.Report.DiskWritten
	})
	if err != nil {
		r.t.Fatal("the guest does not finish verifying its disk:", err)
	}
	if last.Source != host || last.Report.DiskCorrupt != 0 || last.Report.CorruptPages != 0 {
		r.t.Fatalf("on %s: %+v; want nothing corrupt, on %s", last.Source, last.Report, host)
	}
}

// imageProves looks at an image that nobody uses any more: every block must
// prove itself.
func imageProves(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	blocks := protection.NewBlocks(f, make([]byte, 64<<10), diskMiB<<20/protection.BlockSize)
	if written, corrupt, err := blocks.Begin(); written != 0 || corrupt != 0 || err != nil {
		t.Errorf("%s: %d blocks are blank or damaged, %d damaged, %v; want all to prove themselves", path, written, corrupt, err)
	}
}

// lockedOut tells whether a third program that would write is kept from the
// image; one that only reads may, at its own risk.
func lockedOut(t *testing.T, path string) bool {
	t.Helper()
	out, err := exec.Command("qemu-io", "-f", "raw", "-c", "read 0 512", path).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "lock") {
		t.Fatalf("qemu-io: %v: %s", err, out)
	}
	return err != nil
}

// monitor connects to a copy as its host's daemon would.
func (r *rig) monitor(host string, epoch uint64) *qmp.Client {
	r.t.Helper()
	path := filepath.Join(filepath.Dir(r.runners[host].MoveSocket(rigGuest, epoch)), "qmp.sock")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	q, err := qmp.Dial(ctx, path)
	must(r.t, err)
	r.t.Cleanup(func() { _ = q.Close() }) // it may have gone with its QEMU
	return q
}

// mayNotRun tries to let a copy run that must not, and wants the disk's lock to
// prevent it.
func (r *rig) mayNotRun(host string, epoch uint64) {
	r.t.Helper()
	q := r.monitor(host, epoch)
	defer q.Close()
	if err := q.Execute(r.within(10*time.Second), "cont", nil, nil); err == nil || !strings.Contains(err.Error(), "lock") {
		r.t.Fatalf("`cont` on %s = %v; want it refused by the disk's lock", host, err)
	}
}

// diskActive tells whether the copy has its disk in use, as QEMU says.
func (r *rig) diskActive(host string, epoch uint64) bool {
	r.t.Helper()
	q := r.monitor(host, epoch)
	defer q.Close()
	var nodes []struct {
		Name   string `json:"node-name"`
		Active bool   `json:"active"`
	}
	must(r.t, q.Execute(r.within(10*time.Second), "query-named-block-nodes", map[string]bool{"flat": true}, &nodes))
	for _, n := range nodes {
		if n.Name == guest.Node(0) {
			return n.Active
		}
	}
	r.t.Fatalf("the copy on %s has no disk: %+v", host, nodes)
	return false
}

func TestE2EASharedDiskIsLockedWhereTheGuestRunsAndHandedOverOnlyAtCommit(t *testing.T) {
	disk := guest.Disk{Path: filepath.Join(t.TempDir(), "shared.img"), Format: "raw"}
	r := diskRig(t, disk, disk)
	r.bootDisk()
	if !lockedOut(t, disk.Path) {
		t.Fatal("a third program opens the image of a running guest")
	}

	m := r.begin(func(s *gateway.SourceConfig, _ *gateway.DestinationConfig) {
		s.PauseAt, s.BudgetMs = gateway.AtReady, killBudgetMs
	})
	if e := m.source.phase(gateway.AtReady); e == nil || e.Result != nil {
		t.Fatalf("the source's gateway ended before READY: %+v", e)
	}
	if r.diskActive(m.to, m.incoming) {
		t.Error("the destination has the disk before COMMIT")
	}
	if result := m.source.result(); result == nil || result.Outcome != gateway.RolledBack {
		t.Fatalf("result = %+v; want rolled back", result)
	}
	r.mayNotRun(m.to, m.incoming)
	m.settle()
	if !lockedOut(t, disk.Path) || !r.diskActive(m.from, r.epoch) {
		t.Error("after the roll-back the source has no lock on its disk")
	}
	m.runsOnlyOn(m.from)
	r.diskProves(m.from)

	from, epoch := r.at, r.epoch
	for try := 1; r.at == from; try++ {
		m = r.begin(nil)
		result := m.source.result()
		if result == nil || try > 3 || (result.Outcome != gateway.Moved && result.Outcome != gateway.RolledBack) {
			t.Fatalf("try %d: result = %+v; want moved", try, result)
		}
		if result.Outcome == gateway.Moved {
			r.mayNotRun(from, epoch) // the second door to two copies
		}
		t.Logf("try %d: %+v", try, *result)
		m.settle()
	}
	if !lockedOut(t, disk.Path) {
		t.Error("after the move nobody has a lock on the disk")
	}
	m.runsOnlyOn(m.to)
	r.diskProves(m.to)
	m.kill(m.to, r.epoch)
	if lockedOut(t, disk.Path) {
		t.Error("the image is locked although no copy is left")
	}
	imageProves(t, disk.Path)
}

// noMirrorLeft checks that a move has left nothing in the source's QEMU.
func (r *rig) noMirrorLeft() {
	r.t.Helper()
	q := r.monitor(r.at, r.epoch)
	defer q.Close()
	var jobs []struct{ ID, Status string }
	must(r.t, q.Execute(r.within(10*time.Second), "query-jobs", nil, &jobs))
	var nodes []struct {
		Name string `json:"node-name"`
	}
	must(r.t, q.Execute(r.within(10*time.Second), "query-named-block-nodes", map[string]bool{"flat": true}, &nodes))
	for _, n := range nodes {
		if strings.HasPrefix(n.Name, "target-") {
			r.t.Errorf("the node %s is left in the source's QEMU", n.Name)
		}
	}
	if len(jobs) > 0 {
		r.t.Errorf("jobs are left in the source's QEMU: %+v", jobs)
	}
}

// localRig is a rig whose guest has a local disk, an image for each host.
func localRig(t *testing.T) (r *rig, images map[string]string) {
	t.Helper()
	dir := t.TempDir()
	images = map[string]string{srcHost: dir + "/src.img", dstHost: dir + "/dst.img"}
	disk := func(host string) guest.Disk {
		return guest.Disk{Path: images[host], Format: "raw", Local: true, SizeMiB: diskMiB}
	}
	return diskRig(t, disk(srcHost), disk(dstHost)), images
}

func TestE2EALocalDiskGoesAlongIsTakenBackAndGoesAgain(t *testing.T) {
	r, images := localRig(t)
	r.bootDisk()
	m := r.begin(func(s *gateway.SourceConfig, _ *gateway.DestinationConfig) {
		s.PauseAt, s.BudgetMs = gateway.AtReady, killBudgetMs
	})
	if e := m.source.phase(gateway.AtReady); e == nil || e.Result != nil {
		t.Fatalf("the source's gateway ended before READY: %+v", e)
	}
	src, err := os.ReadFile(images[srcHost])
	must(t, err)
	dst, err := os.ReadFile(images[dstHost])
	must(t, err)
	if !bytes.Equal(src, dst) {
		t.Error("at READY the two images differ")
	}
	if result, _ := m.settle(); result == nil || result.Outcome != gateway.RolledBack {
		t.Fatalf("result = %+v; want rolled back", result)
	}
	m.runsOnlyOn(srcHost)
	r.diskProves(srcHost)
	r.noMirrorLeft()

	// `stop` and the end of the mirror wait for a link that has stalled: the
	// budget holds all the same.
	m = r.begin(func(s *gateway.SourceConfig, _ *gateway.DestinationConfig) { s.AskToStop = true })
	if e := m.source.phase(gateway.AskingStop); e == nil || e.Result != nil {
		t.Fatalf("the source's gateway ended before the stop: %+v", e)
	}
	must(t, run("tc", "qdisc replace dev lo root blackhole"))
	t.Cleanup(func() { _ = run("tc", "qdisc del dev lo root") }) // healed below, if all went well
	m.source.say("go")
	result := m.source.result()
	must(t, run("tc", "qdisc del dev lo root"))
	if result == nil || result.Outcome != gateway.RolledBack || result.StopMs > budgetMs {
		t.Errorf("result = %+v; want rolled back within %d ms", result, budgetMs)
	}
	m.settle()
	m.runsOnlyOn(srcHost)
	r.diskProves(srcHost)
	r.noMirrorLeft()

	for _, to := range []string{dstHost, srcHost} {
		m, result := r.moveAway("bumpless")
		t.Logf("to %s: %+v; handover %v", to, *result, m.handover())
		r.diskProves(to)
	}
	m.kill(srcHost, r.epoch)
	imageProves(t, images[srcHost])
}

func TestE2EAMirrorThatBreaksCostsTheGuestNothing(t *testing.T) {
	r, images := localRig(t)
	r.bootDisk()
	for name, harm := range map[string]func(m *move){
		"destination gateway killed": func(m *move) { m.destination.kill() },
		"destination QEMU killed":    func(m *move) { m.kill(m.to, m.incoming) },
		"source gateway killed":      func(m *move) { m.source.kill() },
		"link stalled": func(m *move) {
			must(t, run("tc", "qdisc replace dev lo root blackhole"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			shapeLoopback(t, "20mbit") // 8 MiB take 3.4 s
			m := r.begin(nil)
			if e := m.source.phase(gateway.Mirroring); e == nil || e.Result != nil {
				t.Fatalf("the source's gateway ended before the mirror: %+v", e)
			}
			time.Sleep(500 * time.Millisecond)
			harm(m)
			struck := time.Now()
			result := m.source.result()
			took := time.Since(struck)
			must(t, run("tc", "qdisc del dev lo root"))
			m.destination.stdin.Close() // as a daemon does when the move is over
			m.settle()
			if name != "source gateway killed" && (result == nil || result.Outcome != gateway.Failed) {
				t.Errorf("result = %+v; want failed", result)
			}
			if took > 10*time.Second {
				t.Errorf("the move ended after %v", took)
			}
			m.runsOnlyOn(srcHost) // its disk is judged at the end: what is corrupt once stays counted
			t.Logf("after %v: %+v", took, result)
		})
	}
	r.t = t
	r.moveAway("bumpless")
	r.diskProves(dstHost)
	_, err := r.runners[dstHost].Kill(r.within(10*time.Second), rigGuest, r.epoch)
	must(t, err)
	imageProves(t, images[dstHost])
}
