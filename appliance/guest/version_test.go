package guest

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bumpless/migrate/qmp/qmptest"
)

// monitorSays is the monitor of main1's copy, whose process is of that version.
func (r *Runner) monitorSays(t *testing.T, epoch uint64, version string) (stop func()) {
	return qmptest.Serve(t, filepath.Join(r.dir("main1", epoch), daemonSocket), func(c qmptest.Command) (string, error) {
		if c.Execute == "query-version" {
			return version, nil
		}
		return "", nil
	})
}

func TestTheVersionOfARunningGuestIsThatOfItsProcess(t *testing.T) {
	source := fakeQEMU(t, "10.0.3")     // updated while the guest ran
	dir, err := os.MkdirTemp("", "ver") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	source.RunDir = dir
	source.stand(t, 4)
	probe := func() Abilities {
		t.Helper()
		a, err := source.Probe(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if v, err := probe().Version("main1"); err == nil || !strings.Contains(err.Error(), "QEMU of guest main1 does not say its version") {
		t.Errorf("Version() of a guest whose monitor does not answer = %q, %v; want an error", v, err)
	}
	end := source.monitorSays(t, 4, `{"qemu": {"major": 10, "minor": 0, "micro": 2}, "package": ""}`)
	a := probe()
	version, err := a.Version("main1")
	if err != nil || version != "10.0.2" || a.QEMUVersion != "10.0.3" {
		t.Fatalf("Version() = %q, %v beside a binary %s; want 10.0.2 beside 10.0.3", version, err, a.QEMUVersion)
	}
	end()
	if v, err := probe().Version("main1"); v != "10.0.2" {
		t.Errorf("Version() while the monitor is busy = %q, %v; want what it said before", v, err)
	}
	spec := Spec{Name: "main1", Machine: "pc-q35-10.0"}
	there := Abilities{QEMUVersion: "10.0.2", Machines: []string{"pc-q35-10.0"}, FreeMiB: overheadMiB}
	if err := there.Admit(spec, version); err != nil {
		t.Errorf("Admit() by a host that was not updated = %v; want nil", err)
	}
	there.QEMUVersion = "10.0.3"
	if err := there.Admit(spec, version); err == nil || !strings.Contains(err.Error(), "guest main1 runs under QEMU 10.0.2, here is 10.0.3") {
		t.Errorf("Admit() by a host that was updated = %v; want a refusal", err)
	}
	if v, err := a.Version("main2"); err == nil {
		t.Errorf("Version() of a guest that is not there = %q; want an error", v)
	}
}

func TestADaemonOfAnEarlierReleaseSaysTheVersionOfItsBinary(t *testing.T) {
	if v, err := (Abilities{QEMUVersion: "10.0.2"}).Version("main1"); v != "10.0.2" || err != nil {
		t.Errorf("Version() = %q, %v; want 10.0.2", v, err)
	}
}
