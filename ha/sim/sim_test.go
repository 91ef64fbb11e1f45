package sim

import (
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

var (
	seed  = flag.Uint64("seed", 0, "replay this seed and print its transcript (with -v)")
	seeds = flag.Uint64("seeds", 200, "number of seeds to run")
	from  = flag.Uint64("from", 1, "first seed to run")
)

func options(seed uint64) Options {
	return Options{Seed: seed, Fences: seed%4 == 0}
}

func TestCluster(t *testing.T) {
	if *seed != 0 {
		o := options(*seed)
		o.Trace = func(line string) { t.Log(line) }
		w := New(o)
		err := w.Run()
		t.Logf("%+v", w.Stats)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var next atomic.Uint64
	var mu sync.Mutex
	var sum Stats
	var wait sync.WaitGroup
	bad := 0
	next.Store(*from - 1)
	for range runtime.GOMAXPROCS(0) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for {
				n := next.Add(1)
				if n >= *from+*seeds {
					return
				}
				w := New(options(n))
				err := w.Run()
				mu.Lock()
				if err != nil {
					bad++
					if bad <= 10 {
						t.Errorf("%v\nreplay: go test ./ha/sim -run TestCluster -seed=%d -v", err, n)
					}
				}
				sum.add(w.Stats)
				mu.Unlock()
			}
		}()
	}
	wait.Wait()
	t.Logf("%d bad; %+v", bad, sum)
}

// The checkers can fail: each rule broken on purpose is seen within a few seeds.
func TestTheCheckersSeeEveryRuleBrokenOnPurpose(t *testing.T) {
	for _, b := range []Breakage{SlowWatchdog, SelfResume, PetsAlways, LiesAboutDead, ForgetsMarker, OpeningPets, NoQuorumLease} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			for n := uint64(1); n <= 600; n++ {
				o := options(n)
				o.Break = b
				if err := New(o).Run(); err != nil {
					t.Logf("seed %d: %v", n, err)
					return
				}
			}
			t.Errorf("no seed shows it")
		})
	}
}
