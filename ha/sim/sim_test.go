package sim

import (
	"flag"
	"hash/fnv"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	oneSeed = flag.Uint64("seed", 0, "play this seed alone; with -v its transcript is printed")
	seeds   = flag.Uint64("seeds", 400, "number of seeds to play")
	from    = flag.Uint64("from", 1, "the first of them")
)

// options of a seed: everything else comes from it as well.
func options(seed uint64) Options { return Options{Seed: seed, Fences: seed%4 == 0} }

// TestCluster plays -seeds clusters under faults, on all CPUs. A violation
// prints the one command that plays its seed again.
func TestCluster(t *testing.T) {
	if *oneSeed != 0 {
		playOne(t, *oneSeed)
		return
	}
	last := *from + *seeds - 1
	if testing.Short() {
		last = min(last, *from+99)
	}
	sum := playAll(t, *from, last)
	t.Logf("seeds %d to %d: %+v", *from, last, sum)
	if last-*from < 50 {
		return // too few to be sure of everything below
	}
	counts := reflect.ValueOf(sum)
	for i := range counts.NumField() {
		if counts.Field(i).Int() == 0 {
			t.Errorf("no %s in all seeds: the simulator does not test what it claims", counts.Type().Field(i).Name)
		}
	}
}

func playOne(t *testing.T, seed uint64) {
	o := options(seed)
	if testing.Verbose() {
		o.Trace = func(line string) { t.Log(line) }
	}
	w := New(o)
	err := w.Run()
	t.Logf("%d servers, %+v: %+v", w.Servers, w.Timing, w.Stats)
	if err != nil {
		t.Fatal(err)
	}
}

func playAll(t *testing.T, first, last uint64) (sum Stats) {
	var next atomic.Uint64
	var mu sync.Mutex
	var wait sync.WaitGroup
	next.Store(first - 1)
	bad := 0
	for range runtime.GOMAXPROCS(0) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for n := next.Add(1); n <= last; n = next.Add(1) {
				w := New(options(n))
				err := w.Run()
				mu.Lock()
				sum.add(w.Stats)
				if bad++; err == nil {
					bad--
				} else if bad <= 10 {
					t.Errorf("%v\nplay it again: go test ./ha/sim -run TestCluster -seed=%d -v", err, n)
				}
				mu.Unlock()
			}
		}()
	}
	wait.Wait()
	if bad > 0 {
		t.Errorf("%d of %d seeds are bad", bad, last-first+1)
	}
	return sum
}

// A seed that failed yesterday must fail today.
func TestASeedPlaysTheSameTwice(t *testing.T) {
	play := func(seed uint64) (uint64, int) {
		h, lines := fnv.New64a(), 0
		o := options(seed)
		o.Trace = func(line string) { h.Write([]byte(line)); lines++ }
		if err := New(o).Run(); err != nil {
			t.Fatal(err)
		}
		return h.Sum64(), lines
	}
	one, lines := play(4)
	two, again := play(4)
	if one != two || lines != again || lines < 100 {
		t.Errorf("seed 4 gave two transcripts, of %d and %d lines", lines, again)
	}
	if other, _ := play(5); other == one {
		t.Error("seeds 4 and 5 gave the same transcript")
	}
}

// A checker that cannot fail proves nothing: each rule, broken on purpose, is
// seen. Without the breakage the same script is clean.
func TestTheCheckersSeeEachRuleBrokenOnPurpose(t *testing.T) {
	tests := []struct {
		rule   Breakage
		script func(*World) // nil: the faults of up to 300 seeds
	}{
		{SlowWatchdog, nil}, {SelfResume, nil}, {PetsAlways, nil}, {LiesAboutDead, nil}, {ForgetsMarker, nil}, {KillsTheDeaf, nil},
		{OpeningPets, aDaemonCrashesInALoop}, {NoQuorumLease, aLeaderIsCutOff},
	}
	for _, tt := range tests {
		t.Run(string(tt.rule), func(t *testing.T) {
			t.Parallel()
			for n := uint64(1); n <= 300; n++ {
				o := options(n)
				o.Break, o.Script = tt.rule, tt.script
				if err := New(o).Run(); err != nil {
					t.Logf("seed %d: %v", n, err)
					return
				}
			}
			t.Error("no seed shows it")
		})
	}
}

func TestScriptsAreCleanWhenNoRuleIsBroken(t *testing.T) {
	for name, script := range map[string]func(*World){"daemon crashes in a loop": aDaemonCrashesInALoop, "leader is cut off": aLeaderIsCutOff} {
		t.Run(name, func(t *testing.T) {
			for n := uint64(1); n <= 10; n++ {
				o := options(n)
				o.Script = script
				w := New(o)
				if err := w.Run(); err != nil {
					t.Errorf("seed %d: %v", n, err)
				}
				if w.Stats.Takeovers == 0 {
					t.Errorf("seed %d: nothing was taken over", n)
				}
			}
		})
	}
}

// The promise of a takeover: a host that is lost for good is replaced within the
// waiting period and what the log and a start take (the checkers see to it that
// it is not before). With the leader lost, its election comes on top.
func TestATakeoverMeetsTheComputedBound(t *testing.T) {
	for _, leader := range []bool{false, true} {
		for n := uint64(1); n <= 40; n++ {
			w := New(Options{Seed: n, Servers: 3, Script: func(w *World) { loseAHost(w, leader) }})
			if err := w.Run(); err != nil {
				t.Errorf("seed %d, leader lost %v: %v", n, leader, err)
			}
			if w.Stats.Takeovers == 0 {
				t.Errorf("seed %d: nothing was taken over", n)
			}
		}
	}
}

func loseAHost(w *World, leader bool) {
	w.after(15*time.Second, func() {
		h, slack := busy(w, w.log.leader), 3*time.Second
		if leader {
			h, slack = w.log.leader, 6*time.Second
		}
		h.powerOff("lost for good")
		bound := w.check.longest(w.Timing.WaitingPeriod()) + slack
		w.after(bound, func() {
			for guest := range groups {
				if list := w.check.running(guest); len(list) != 1 {
					w.check.fail("%v after its host was lost %s runs in %d places", bound, guest, len(list))
				}
			}
		})
	})
}

// Restarting or updating a daemon leaves its guests running, on the leader too:
// the next leader is elected and grants within the time for which a new daemon
// waits for its first lease.
func TestADaemonsRestartLeavesItsGuestsRunning(t *testing.T) {
	for _, leader := range []bool{false, true} {
		for n := uint64(1); n <= 40; n++ {
			w := New(Options{Seed: n, Servers: 3, Script: func(w *World) { restartADaemon(w, leader) }})
			if err := w.Run(); err != nil {
				t.Errorf("seed %d, on the leader %v: %v", n, leader, err)
			}
			if starts := w.Stats.Starts; starts != len(groups) {
				t.Errorf("seed %d, on the leader %v: %d starts of %d guests", n, leader, starts, len(groups))
			}
		}
	}
}

func restartADaemon(w *World, leader bool) {
	w.after(15*time.Second, func() {
		h := busy(w, w.log.leader)
		if leader {
			h = w.log.leader
		}
		h.endDaemon()
		w.after(w.between(100*time.Millisecond, time.Second), h.startDaemon)
	})
}

// busy is a server that runs guests.
func busy(w *World, but *host) *host {
	for _, h := range w.hosts {
		if h != but && len(h.procs) > 0 {
			return h
		}
	}
	panic("no host runs a guest")
}

// aDaemonCrashesInALoop on a host that is cut off and whose guests do not die.
func aDaemonCrashesInALoop(w *World) {
	w.after(15*time.Second, func() {
		h := busy(w, w.log.leader)
		for _, p := range h.procs {
			p.stuck = true
		}
		cutOff(w, h)
		for i := range 15 {
			w.after(time.Duration(i)*2*time.Second, func() {
				h.endDaemon()
				w.after(100*time.Millisecond, h.startDaemon)
			})
		}
	})
}

// aLeaderIsCutOff, runs guests, and is told nothing about the new leader.
func aLeaderIsCutOff(w *World) {
	w.after(15*time.Second, func() {
		h := busy(w, nil)
		w.log.elect(h, w.log.quorum(h))
		w.after(5*time.Second, func() {
			h.raft.oust = true
			cutOff(w, h)
		})
	})
}

func cutOff(w *World, h *host) {
	for _, o := range w.hosts {
		if o != h {
			w.net.cutFor(h, o, w.Faults)
			w.net.cutFor(o, h, w.Faults)
		}
	}
}
