package main

import (
	"os"
	"testing"
	"time"
)

func TestCPUTimeIsReadPastAnyProcessName(t *testing.T) {
	const stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 150 25 7 8 20 0 1 0 100 1 1"
	if s, err := parseCPU(stat); err != nil || s != 1.75 {
		t.Errorf("parseCPU() = %v, %v; want 1.75", s, err)
	}
	for _, bad := range []string{"", "42 (a) S 1 2", "42 (a) S 1 42 42 0 -1 4194560 1 2 3 4 x 25 7"} {
		if _, err := parseCPU(bad); err == nil {
			t.Errorf("parseCPU(%q): no error", bad)
		}
	}
}

func TestAProcessWithoutVCPUsIsNoQEMUOfOurs(t *testing.T) {
	if _, err := vcpuSeconds(os.Getpid()); err == nil {
		t.Error("vcpuSeconds() of this process: no error")
	}
}

func TestAGuestsShareIsOfTheTimeInWhichItRan(t *testing.T) {
	r := Row{TotalS: 1.5, StopMs: 500, GuestCPUS: 0.8}
	if got := r.guestShare(); got != 0.8 {
		t.Errorf("guestShare() = %v; want 0.8", got)
	}
	if got := (Row{}).guestShare(); got != 0 {
		t.Errorf("guestShare() of a row without a run = %v; want 0", got)
	}
}

func TestTheMachinesBusyTimeIsWithoutIdling(t *testing.T) {
	if s, err := parseMachine("cpu  100 20 30 9999 888 4 5 6 77 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"); err != nil || s != 1.65 {
		t.Errorf("parseMachine() = %v, %v; want 1.65", s, err)
	}
	for _, bad := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", "cpu 1 2 x 4 5 6 7 8"} {
		if _, err := parseMachine(bad); err == nil {
			t.Errorf("parseMachine(%q): no error", bad)
		}
	}
}

func TestAGatewaysMemoryIsWithoutTheGuests(t *testing.T) {
	if n, err := parseOwn("Name:\tx\nVmHWM:\t  9000 kB\nRssAnon:\t    2048 kB\nRssFile:\t    1024 kB\nRssShmem:\t    5928 kB\n"); err != nil || n != 3<<20 {
		t.Errorf("parseOwn() = %d, %v; want 3 MiB", n, err)
	}
	if _, err := parseOwn("Name:\tx\nState:\tZ (zombie)\n"); err == nil {
		t.Error("parseOwn of a process that has ended: no error")
	}
}

func TestPeakOfALiveProcessIsFollowed(t *testing.T) {
	done := make(chan struct{})
	defer close(done)
	peak := watchPeak(os.Getpid(), done)
	for end := time.Now().Add(10 * time.Second); peak() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no peak was seen")
		}
	}
}
