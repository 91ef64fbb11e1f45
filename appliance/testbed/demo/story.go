package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"bumpless/appliance/api"
	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/protection"
)

// The site of the story.
const (
	hostA, hostB = "host-a", "host-b"
	guestName    = "prot1"
	budgetMs     = 300
	memoryMiB    = 160
	policyName   = "bumpless"
	linkBitsPerS = 1_000_000_000 // of each LAN
)

// stallFor is how long nothing passes the link: longer than the budget, shorter
// than the lease.
const stallFor = 600 * time.Millisecond

// story is one run of the demo.
type story struct {
	ctx      context.Context
	began    time.Time
	cluster  *testbed.Cluster
	settings protection.Settings
	screen   *screen
	consoles map[string]*operator
	result   Result
	taken    map[string]bool // moves that are in result
	record   *record
	bootS    float64 // from the daemon's start to the guest's first frame, at most
	bootID   uint32  // of the guest's first boot: no move may change it
}

func newStory(ctx context.Context, dir, binary, cache string) (*story, error) {
	s := &story{ctx: ctx, began: time.Now(), settings: protection.Defaults(), screen: &screen{to: os.Stdout}, consoles: map[string]*operator{}, result: Result{Version: 1}, taken: map[string]bool{}}
	s.say("1. three hosts come up: %s, %s and a witness, on a station bus and two LANs", hostA, hostB)
	var err error
	s.cluster, err = testbed.NewCluster(testbed.ClusterOptions{Dir: dir, Binary: binary,
		Kernel: filepath.Join(cache, "guest-vmlinuz"), Initrd: filepath.Join(cache, "guest-initrd"),
		Hosts: []string{hostA, hostB, testbed.WitnessHost}, Timing: testbed.DefaultTiming(), LinkBitsPerS: linkBitsPerS,
		Policy: policyName, MarginMs: 30, WakingMs: testbed.WakingMs,
		Guests: []testbed.GuestOptions{{Name: guestName, MemoryMiB: memoryMiB, BudgetMs: budgetMs, Preferred: hostA, Settings: s.settings}}})
	if err != nil {
		return nil, err
	}
	s.record = newRecord(s.began, s.cluster, s.settings.GocbRef, []string{hostA, hostB})
	return s, nil
}

func (s *story) close() {
	if err := s.cluster.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "demo: clean up:", err)
	}
}

// say tells a step, with the time since the beginning.
func (s *story) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.screen.say(fmt.Sprintf("\n[%6.2f s] %s", time.Since(s.began).Seconds(), text))
	if s.record != nil {
		s.record.mark(text)
	}
}

func (s *story) tell() error {
	defer s.record.stop()
	for _, step := range []func() error{s.comeUp, s.startGuest, s.drain, s.stalledMove, s.powerCut} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) comeUp() error {
	up := func(st api.Status) bool { return st.Leader != "" && len(st.Hosts) == 3 }
	st, err := s.cluster.Wait(time.Minute, "a leader", up)
	if err != nil {
		return err
	}
	s.say("the cluster is up: %s leads", st.Leader)
	s.screen.say("    " + st.WaitingPeriod)
	for _, host := range []string{hostA, hostB} {
		s.consoles[host] = newOperator(host, s.cluster.Console(host), s.screen.console())
	}
	return nil
}

func (s *story) startGuest() error {
	from := time.Now()
	s.say("2. guest %s starts on %s: QEMU, Debian's kernel, the protection guest; GOOSE every %v, SV in, memory dirtied", guestName, hostA, s.settings.GoosePeriod)
	first, err := s.cluster.Observer.Wait(s.settings.GocbRef, 2*time.Minute, func(x testbed.Sighting) bool { return x.Source == hostA })
	if err != nil {
		return err
	}
	s.bootS, s.bootID = first.At.Sub(from).Seconds(), first.Report.BootID
	s.say("the observer on the station bus hears it after %.1f s; the guest verifies its memory", s.bootS)
	_, err = s.verified(hostA)
	return err
}

// verified waits until the guest, heard from that host, has passed over all of
// its memory from now on.
func (s *story) verified(host string) (testbed.Sighting, error) {
	now := time.Now()
	start, err := s.cluster.Observer.Wait(s.settings.GocbRef, time.Minute, func(x testbed.Sighting) bool { return x.At.After(now) && x.Source == host })
	if err != nil {
		return start, err
	}
	// The pass under way began before: the one after it sees everything.
	return s.cluster.Observer.Wait(s.settings.GocbRef, time.Minute, func(x testbed.Sighting) bool {
		return x.Report.VerifyPasses >= start.Report.VerifyPasses+2
	})
}

func (s *story) drain() error {
	s.say("3. an operator types at the serial console of %s", hostA)
	if err := s.consoles[hostA].attention(s.ctx); err != nil {
		return err
	}
	if _, err := s.consoles[hostA].do(s.ctx, "drain "+hostA); err != nil {
		return err
	}
	s.say("4. the guest runs on %s; it verifies its memory", hostB)
	last, err := s.verified(hostB)
	if err != nil {
		return err
	}
	return s.takeMoves("drain", last.Report.CorruptPages)
}

func (s *story) stalledMove() error {
	s.say("5. a second move, back to %s, with both LANs stalled from the moment that the guest is stopped", hostA)
	if _, err := s.consoles[hostA].do(s.ctx, "resume "+hostA); err != nil {
		return err
	}
	stalled, err := s.cluster.BeforeStop(s.ctx, s.stall)
	if err != nil {
		return err
	}
	if _, err := s.consoles[hostB].do(s.ctx, "move "+guestName+" "+hostA); err != nil {
		return err
	}
	if err := <-stalled; err != nil {
		return fmt.Errorf("stall the link: %w", err)
	}
	s.say("the guest carries on at %s; it verifies its memory", hostB)
	last, err := s.verified(hostB)
	if err != nil {
		return err
	}
	return s.takeMoves("stalled link", last.Report.CorruptPages)
}

// stall lets nothing pass to and from host-a over either LAN, for a while.
func (s *story) stall() error {
	var errs []error
	for _, lan := range []string{testbed.LANA, testbed.LANB} {
		errs = append(errs, s.cluster.Bed.Stall(hostA, lan))
	}
	s.record.mark("both LANs stall")
	time.AfterFunc(stallFor, func() {
		for _, lan := range []string{testbed.LANA, testbed.LANB} {
			if err := s.cluster.Bed.Heal(hostA, lan); err != nil {
				fmt.Fprintln(os.Stderr, "demo: heal the link:", err)
			}
		}
		s.record.mark("both LANs heal")
	})
	return errors.Join(errs...)
}

func (s *story) powerCut() error {
	st, err := s.cluster.Wait(30*time.Second, "the guest to be settled", func(st api.Status) bool {
		return len(st.Guests) == 1 && st.Guests[0].Owner == hostB && st.Guests[0].Move == "" && st.Leader != ""
	})
	if err != nil {
		return err
	}
	before := s.cluster.Observer.Frames()
	all := s.cluster.Observer.Between(s.settings.GocbRef, s.began, time.Now())
	for _, x := range all {
		if x.Report.BootID != s.bootID {
			return fmt.Errorf("the guest was booted again at %.2f s, before any power was cut", x.At.Sub(s.began).Seconds())
		}
	}
	gap, _ := all.LargestGap()
	s.result.Goose = Goose{Frames: before, PeriodMs: s.settings.GoosePeriod.Seconds() * 1000, MaxGapMs: gap.Seconds() * 1000}
	bound := s.bound(st)
	s.say("6. the power of %s is cut; the guest must be back within %.1f s, and not start before the waiting period of %.1f s", hostB, bound, st.WaitingPeriodS)
	cut := time.Now()
	if err := s.cluster.Bed.PowerCut(hostB); err != nil {
		return err
	}
	back, err := s.cluster.Observer.Wait(s.settings.GocbRef, time.Minute, func(x testbed.Sighting) bool { return x.Source == hostA && x.At.After(cut) })
	if err != nil {
		return err
	}
	f := Failover{Guest: guestName, From: hostB, To: hostA, Cause: "power", BoundS: bound, RestoredS: back.At.Sub(cut).Seconds()}
	s.say("the guest is back on %s after %.1f s; it verifies its memory", hostA, f.RestoredS)
	if _, err := s.verified(hostA); err != nil {
		return err
	}
	f.CopiesMax = s.cluster.Observer.Between(s.settings.GocbRef, cut.Add(-5*time.Second), time.Now()).CopiesMax()
	s.result.Failovers = append(s.result.Failovers, f)
	return s.notBefore(f, st.WaitingPeriodS)
}

// bound on the time from a power cut to the guest's first frame. A leader that
// dies costs an election, and its successor counts from its own beginning.
func (s *story) bound(st api.Status) float64 {
	t := testbed.DefaultTiming()
	const repeat = 1.0 // core gives an action out again after a second
	return st.WaitingPeriodS + 3*t.Election.Seconds() + repeat + 2*s.bootS
}

// notBefore: the lease may have been asked for up to a third of it before the
// cut, so the waiting period may have begun that much earlier.
func (s *story) notBefore(f Failover, waitingS float64) error {
	if least := waitingS - testbed.DefaultTiming().Lease.Seconds()/3; f.RestoredS < least {
		return fmt.Errorf("the guest was back after %.1f s: it must not start before %.1f s", f.RestoredS, least)
	}
	return nil
}
