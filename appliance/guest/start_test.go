package guest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestArgumentsOfACopy(t *testing.T) {
	spec := Spec{Name: "main1", MemoryMiB: 512, VCPUs: 2, Machine: "pc-q35-10.0", CPU: "host", Accel: "kvm",
		Kernel: "/k", Initrd: "/i", Cmdline: "console=ttyS0", MAC: "52:54:00:00:01:01", Bridge: "br-bus"}
	words, err := arguments(spec, "/run/x/g/main1.3", false)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Join(words, " ")
	for _, want := range []string{"-M pc-q35-10.0", "-m 512", "-smp 2", "-accel kvm", "path=/run/x/g/main1.3/move.sock", "mac=52:54:00:00:01:01",
		"-sandbox on,", "-kernel /k -initrd /i -append console=ttyS0"} {
		if !strings.Contains(line, want) {
			t.Errorf("arguments() = %s; want %q in it", line, want)
		}
	}
	// The name is that which the machine gives its RAM by itself.
	if want := "-m 512 -object memory-backend-memfd,id=pc.ram,size=512M,share=on,prealloc=on -machine memory-backend=pc.ram"; !strings.Contains(line, want) {
		t.Errorf("arguments() = %s; want %q in it", line, want)
	}
	spec.Machine = "virt-10.0"
	if other, err := arguments(spec, "/d", false); err != nil || slices.Contains(other, "-object") {
		t.Errorf("arguments() of a machine whose RAM has another name = %v, %v; want no shared memory", other, err)
	}
	spec.Machine = "pc-q35-10.0"
	if strings.Contains(line, "-incoming") {
		t.Error("a copy that is started has no -incoming")
	}
	incoming, err := arguments(spec, "/d", true)
	if strings.Contains(strings.Join(incoming, " "), "prealloc") {
		t.Error("an incoming copy's memory is taken before its gateway has emptied it")
	}
	if err != nil || !slices.Contains(incoming, "-incoming") || !slices.Contains(incoming, "-S") {
		t.Errorf("arguments() of an incoming copy = %v, %v; want -S -incoming", incoming, err)
	}
}

func TestACopysDirectoryNamesItsGuestAndEpoch(t *testing.T) {
	r := &Runner{RunDir: "/run/x"}
	for name, want := range map[string]uint64{"main1.3": 3, "a-b.18446744073709551615": 1<<64 - 1} {
		guest, epoch, ok := parseDir(name)
		if !ok || epoch != want || filepath.Base(r.dir(guest, epoch)) != name {
			t.Errorf("parseDir(%q) = %q, %d, %v; want epoch %d", name, guest, epoch, ok, want)
		}
	}
	for _, bad := range []string{"", "main1", "main1.", ".3", "main1.x", "main1.-1"} {
		if guest, epoch, ok := parseDir(bad); ok && guest != "" {
			t.Errorf("parseDir(%q) = %q, %d; want none", bad, guest, epoch)
		}
	}
}

func TestAQEMUThatEndsAtOnceLeavesNothingAndSaysWhy(t *testing.T) {
	dir, err := os.MkdirTemp("", "g") // short: a socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	qemu := filepath.Join(dir, "qemu")
	if err := os.WriteFile(qemu, []byte("#!/bin/sh\necho no such disk >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := &Runner{RunDir: dir, Binary: qemu, Specs: map[string]Spec{"main1": {Name: "main1"}}}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.Start(ctx, "main1", 1, false); err == nil || !strings.Contains(err.Error(), "no such disk") {
		t.Errorf("Start() = %v; want what QEMU said", err)
	}
	if copies, err := r.Find(); err != nil || len(copies) != 0 {
		t.Errorf("Find() = %v, %v; want no copy", copies, err)
	}
	if err := r.Start(ctx, "main1", 1, false); err == nil || !strings.Contains(err.Error(), "epoch") {
		t.Errorf("a second Start() with the same epoch = %v; want it refused", err)
	}
	if err := r.Start(ctx, "nobody", 1, false); err == nil || !strings.Contains(err.Error(), "site file") {
		t.Errorf("Start() of an unknown guest = %v; want it refused", err)
	}
}
