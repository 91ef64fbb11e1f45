package node

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bumpless/appliance/config"
	"bumpless/ha/core"
	"bumpless/migrate/gateway"
	"bumpless/migrate/policy"
)

func TestAFormerDaemonsGatewayIsGoneWhenEndStrayReturns(t *testing.T) {
	d := moveDir(t.TempDir())
	pid, ended := stranger(t, "gateway", "source")
	if err := writePID(filepath.Join(string(d), "source.pid"), pid); err != nil {
		t.Fatal(err)
	}
	if err := d.endStray(context.Background(), source); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the gateway lives after endStray()")
	}
	if err := d.endStray(context.Background(), source); err != nil {
		t.Errorf("endStray() again = %v; want nil, it is gone", err)
	}
}

func TestAProcessThatGotAGatewaysNumberIsLeftAlone(t *testing.T) {
	d := moveDir(t.TempDir())
	pid, ended := stranger(t, "something", "else")
	if err := writePID(filepath.Join(string(d), "source.pid"), pid); err != nil {
		t.Fatal(err)
	}
	if err := d.endStray(context.Background(), source); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
		t.Error("a process that is no gateway was killed")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestANoteOfAGatewayThatIsNoNumberIsAnError(t *testing.T) {
	for _, text := range []string{"", "x", "0", "1", "-1"} {
		d := moveDir(t.TempDir())
		if err := os.WriteFile(filepath.Join(string(d), "source.pid"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if d.endStray(context.Background(), source) == nil {
			t.Errorf("endStray() with %q as process = nil; want an error", text)
		}
	}
	if err := moveDir(t.TempDir()).endStray(context.Background(), source); err != nil {
		t.Errorf("endStray() without a note = %v; want nil", err)
	}
}

func TestACommitMarkerThatCannotBeLookedForCountsAsThere(t *testing.T) {
	dir := t.TempDir()
	if moveDir(dir).committed(gateway.CommittedMarker) {
		t.Error("committed() in an empty directory = true; want false")
	}
	file := filepath.Join(dir, gateway.CommittedMarker)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !moveDir(dir).committed(gateway.CommittedMarker) {
		t.Error("committed() with the marker = false; want true")
	}
	if !moveDir(file).committed(gateway.CommittedMarker) { // not a directory
		t.Error("committed() that cannot look = false; want true")
	}
}

func TestASourceRunsTheCopyOfItsOrderAndBoundsItsMemory(t *testing.T) {
	n := newTestNode(t)
	n.site.RunDir = t.TempDir()
	n.site.Guests = []config.Guest{{Name: "g", MemoryMiB: 100}}
	n.hypervisor = newHypervisor(n.site, n.self)
	n.site.Move.WakingMs, n.wakings.guests = 40, map[string]policy.Waking{"g": {70, 80}}
	m := core.Move{ID: "g-9", Guest: "g", From: "host-a", To: "host-b", Epoch: 9}
	c := n.sourceConfig(core.RunMove{Move: m, Epoch: 7})
	if want := n.hypervisor.MoveSocket("g", 7); c.QMP != want {
		t.Errorf("QMP = %s; want %s, the order's epoch", c.QMP, want)
	}
	if d := n.destinationConfig(m); c.WakingMs != 40 || d.WakingMs != 70 {
		t.Errorf("WakingMs = %d at the source, %d at the destination; want the site's 40, and 70 that were measured", c.WakingMs, d.WakingMs)
	}
	if want := uint64(164) << 20; c.RAMBytes != want || n.destinationConfig(m).RAMBytes != want {
		t.Errorf("RAMBytes = %d at the source, %d at the destination; want %d at both", c.RAMBytes, n.destinationConfig(m).RAMBytes, want)
	}
}
