package testbed

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/gateway"
	"bumpless/watchdog/dev"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "gateway" {
		os.Exit(gateway.Main(os.Args[2], os.Stdin, os.Stdout))
	}
	Enter()
	os.Exit(m.Run())
}

func newBed(t *testing.T, o Options) *Bed {
	t.Helper()
	o.Dir = t.TempDir()
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func reaches(t *testing.T, from *Host, address string) bool {
	t.Helper()
	_, err := from.Exec(within(t), "timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/"+address+"/7")
	// Nobody listens on port 7: a refusal says that the host was reached.
	return err != nil && strings.Contains(err.Error(), "refused")
}

func TestHostsReachEachOtherOverBothLANs(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a", "host-b"}})
	for _, lan := range []string{LANA, LANB} {
		if !reaches(t, b.Host("host-a"), Address(2, lan)) {
			t.Errorf("host-a does not reach host-b over %s", lan)
		}
	}
	if err := b.Stall("host-b", LANA); err != nil {
		t.Fatal(err)
	}
	if reaches(t, b.Host("host-a"), Address(2, LANA)) || !reaches(t, b.Host("host-a"), Address(2, LANB)) {
		t.Error("a stalled LAN A must stop LAN A and nothing else")
	}
	if err := b.Heal("host-b", LANA); err != nil {
		t.Fatal(err)
	}
	if !reaches(t, b.Host("host-a"), Address(2, LANA)) {
		t.Error("LAN A does not work again after Heal")
	}
}

func TestAPowerCutEndsEveryProcessAndKeepsTheDisk(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a"}})
	h := b.Host("host-a")
	script := "setsid sleep 1000 & echo on > " + h.Dir + "/disk; echo on > /run/memory; exec sleep 1000"
	if _, err := h.StartDaemon(within(t), "sh", "-c", script); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the daemon's files", func() bool { _, err := h.Exec(within(t), "test", "-e", "/run/memory"); return err == nil })
	if err := b.PowerCut("host-a"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of every process", func() bool { return sleepers(t) == 0 })
	if err := b.Boot("host-a"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Exec(within(t), "test", "-e", h.Dir+"/disk"); err != nil {
		t.Error("the disk was lost:", err)
	}
	if _, err := h.Exec(within(t), "test", "-e", "/run/memory"); err == nil {
		t.Error("the run directory survived the power cut")
	}
}

func TestKillingTheDaemonLeavesWhatItStarted(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a"}})
	h := b.Host("host-a")
	if _, err := h.StartDaemon(within(t), "sh", "-c", "setsid sleep 1000 & exec sleep 1000"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "both processes", func() bool { return sleepers(t) == 2 })
	if err := h.KillDaemon(within(t)); err != nil {
		t.Fatal(err)
	}
	if n := sleepers(t); n != 1 {
		t.Errorf("%d processes are left, want the one that the daemon started", n)
	}
}

func TestAHostThatStopsPettingIsSwitchedOff(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a"}})
	d, err := dev.OpenPowerStrip(b.StripSocket("host-a"), 500*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if !b.Host("host-a").On() {
		t.Fatal("an outlet that was never petted is not armed, and must not switch off")
	}
	for range 10 {
		if err := d.Pet(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !b.Host("host-a").On() {
		t.Fatal("a petted host was switched off")
	}
	d.Close()
	waitFor(t, "the power cut", func() bool { return !b.Host("host-a").On() })
	if n := b.WatchdogCuts("host-a"); n != 1 {
		t.Errorf("WatchdogCuts() = %d; want 1", n)
	}
}

func sleepers(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && string(b) == "sleep\x001000\x00" {
			n++
		}
	}
	return n
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("waited a minute for %s", what)
}
