package core

import (
	"strings"
	"testing"
	"time"
)

func TestTheWaitingPeriodIsTheSumOfItsParts(t *testing.T) {
	t1 := Timing{Lease: 3 * time.Second, LeaderLease: time.Second, WatchdogTimeout: 4 * time.Second, ResetTime: 2 * time.Second}
	if got, want := t1.WaitingPeriod(), 10*time.Second; got != want {
		t.Errorf("WaitingPeriod() = %v without drift; want %v", got, want)
	}
	text := t1.ExplainWaitingPeriod()
	for _, part := range []string{"10s", "lease 3s", "leader lease 1s", "watchdog 4s", "reset 2s"} {
		if !strings.Contains(text, part) {
			t.Errorf("ExplainWaitingPeriod() = %q; want %q in it", text, part)
		}
	}
}

// The silent host's clock may be slow and the leader's fast, each by DriftPPM.
func TestTheWaitingPeriodCoversTwoWrongClocks(t *testing.T) {
	for _, ppm := range []int{0, 1, 500, 20_000, 100_000} {
		for _, lease := range []time.Duration{3 * time.Second, time.Second + 1} {
			timing := Timing{Lease: lease, WatchdogTimeout: 4 * time.Second, ResetTime: 2 * time.Second, DriftPPM: ppm}
			slow, fast := 1-float64(ppm)/1e6, 1+float64(ppm)/1e6
			dead := float64(timing.undrifted()) / slow       // true time until the last copy is dead
			waited := float64(timing.WaitingPeriod()) / fast // true time that the leader waits
			if waited < dead*(1-1e-12) {
				t.Errorf("at %d ppm the leader waits %v, the copies may live %v", ppm, time.Duration(waited), time.Duration(dead))
			}
		}
	}
}

func TestValidateNamesEachInequalityThatDoesNotHold(t *testing.T) {
	if err := DefaultTiming().Validate(); err != nil {
		t.Fatalf("the default: %v", err)
	}
	tests := []struct {
		name   string
		change func(*Timing)
		want   string
	}{
		{"no lease", func(t *Timing) { t.Lease = 0 }, "must be above 0"},
		{"a negative reset time", func(t *Timing) { t.ResetTime = -1 }, "may be negative"},
		{"a lease of three petting intervals", func(t *Timing) { t.Lease = 3 * t.PetInterval }, "four petting intervals"},
		{"a watchdog as quick as the petting", func(t *Timing) { t.WatchdogTimeout = t.PetInterval }, "a late tick resets the host"},
		{"a drift of 20 %", func(t *Timing) { t.DriftPPM = 200_000 }, "0 to 100000"},
		{"a descending back-off", func(t *Timing) { t.RetryMax = t.RetryMin - 1 }, "ascending"},
		{"a wait of hours", func(t *Timing) { t.Lease = 2 * time.Hour }, "below one hour"},
	}
	for _, tt := range tests {
		timing := DefaultTiming()
		tt.change(&timing)
		if err := timing.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "site file") {
			t.Errorf("%s: Validate() = %v; want %q and where to correct it", tt.name, err, tt.want)
		}
	}
	all := Timing{LeaderLease: -1, DriftPPM: -1}
	if err := all.Validate(); strings.Count(err.Error(), ";") < 3 {
		t.Errorf("Validate() = %v; want every inequality listed", err)
	}
}

func TestTheBackOffDoublesUpToItsBound(t *testing.T) {
	timing := Timing{RetryMin: time.Second, RetryMax: 5 * time.Second}
	for tries, want := range map[int]time.Duration{0: 1, 1: 1, 2: 2, 3: 4, 4: 5, 1000: 5} {
		if got := timing.backOff(tries); got != want*time.Second {
			t.Errorf("backOff(%d) = %v; want %v", tries, got, want*time.Second)
		}
	}
}
