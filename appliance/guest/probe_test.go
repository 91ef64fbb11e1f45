package guest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeQEMU answers --version and -M help as a QEMU of that version does.
func fakeQEMU(t *testing.T, version string) *Runner {
	t.Helper()
	script := "#!/bin/sh\ncase $1 in\n--version) echo 'QEMU emulator version " + version + " (Debian 1:" + version + ")';;\n" +
		"-M) printf 'Supported machines are:\\npc-q35-10.0          Standard PC (Q35 + ICH9, 2009)\\nnone                 empty machine\\n';;\nesac\n"
	path := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Runner{RunDir: t.TempDir(), Binary: path}
}

func TestProbeReadsWhatQEMUSaysOfItself(t *testing.T) {
	a, err := fakeQEMU(t, "10.0.2").Probe(context.Background())
	if err != nil || a.QEMUVersion != "10.0.2" || !slices.Equal(a.Machines, []string{"pc-q35-10.0", "none"}) || a.FreeMiB <= 0 {
		t.Errorf("Probe() = %+v, %v; want version 10.0.2, two machines, some free memory", a, err)
	}
}

func TestProbeRefusesAQEMUThatCorruptsGuests(t *testing.T) {
	for version, want := range map[string]string{"7.2.18": "too old", "nonsense": "no version"} {
		if _, err := fakeQEMU(t, version).Probe(context.Background()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Probe() of QEMU %s: error = %v; want %q", version, err, want)
		}
	}
	r := &Runner{Binary: "/nonexistent/qemu"}
	if _, err := r.Probe(context.Background()); err == nil || !strings.Contains(err.Error(), "/nonexistent/qemu") {
		t.Errorf("Probe() without QEMU: error = %v; want its path in it", err)
	}
}

func TestAGuestIsAdmittedOnlyWhereItFits(t *testing.T) {
	spec := Spec{Name: "main1", MemoryMiB: 1024, Machine: "pc-q35-10.0", DeltaCacheMiB: 256}
	here := Abilities{QEMUVersion: "10.0.2", Machines: []string{"pc-q35-10.0"}, FreeMiB: 1024 + 256 + overheadMiB}
	for _, c := range []struct {
		what   string
		change func(*Abilities)
		from   string
		want   string // "": admitted
	}{
		{"all is well", func(*Abilities) {}, "10.0.2", ""},
		{"a first start", func(*Abilities) {}, "", ""},
		{"another QEMU at the source", func(*Abilities) {}, "10.0.3", "update the older host first"},
		{"no such machine type", func(a *Abilities) { a.Machines = []string{"none"} }, "10.0.2", "no machine type pc-q35-10.0"},
		{"too little memory", func(a *Abilities) { a.FreeMiB-- }, "10.0.2", "stop or move another guest"},
		{"enough is free, and promised", func(a *Abilities) { a.FreeMiB += 500; a.PromisedMiB = 501 }, "10.0.2", "may still take 501 MiB"},
	} {
		a := here
		c.change(&a)
		err := a.Admit(spec, c.from)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: Admit() = %v; want %q", c.what, err, c.want)
		}
	}
}

func TestAGuestLeavesOnlyAHostThatHasMemoryForItsGateway(t *testing.T) {
	spec := Spec{Name: "main1", MemoryMiB: 1024, DeltaCacheMiB: 256}
	if err := (Abilities{FreeMiB: 256, PromisedMiB: 100}).Lets(spec); err != nil {
		t.Errorf("Lets() with 256 MiB free = %v; want nil", err)
	}
	if err := (Abilities{FreeMiB: 255}).Lets(spec); err == nil || !strings.Contains(err.Error(), "needs 256 MiB") {
		t.Errorf("Lets() with 255 MiB free = %v; want a refusal that says what is needed", err)
	}
}
