package testbed

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"bumpless/appliance/api"
	"bumpless/appliance/testbed/protection"
)

const (
	hostA, hostB = "host-a", "host-b"
	guest1       = "prot1"
	// testBudget is four times the demo's: the machine that runs the tests is
	// shared, and a process of it may not be scheduled for 170 ms.
	testBudget = 1200 * time.Millisecond
)

// program is the bumpless binary, built once for all tests.
var program = sync.OnceValues(func() (string, error) {
	path, err := filepath.Abs("../../out/test/bumpless")
	if err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-o", path, "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return string(out), err
	}
	return path, nil
})

// testCluster is a cluster whose guest prot1 runs on host-a and has verified
// its memory.
type testCluster struct {
	*Cluster
	t        *testing.T
	settings protection.Settings
}

func newTestCluster(t *testing.T) *testCluster {
	t.Helper()
	return newClusterWith(t, testBudget, DefaultTiming())
}

func newClusterWith(t *testing.T, budget time.Duration, timing Timing) *testCluster {
	t.Helper()
	binary, err := program()
	if err != nil {
		t.Fatal(err, binary)
	}
	dir, err := os.MkdirTemp("", "bl-") // short: a socket's path has 108 bytes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := protection.Defaults()
	c, err := NewCluster(ClusterOptions{Dir: dir, Binary: binary, Kernel: guestFile(t, "guest-vmlinuz"), Initrd: guestFile(t, "guest-initrd"),
		Hosts: []string{hostA, hostB, WitnessHost}, Timing: timing, LinkBitsPerS: 1_000_000_000, Policy: "bumpless", MarginMs: 100, WakingMs: WakingMs,
		Guests: []GuestOptions{{Name: guest1, MemoryMiB: 160, BudgetMs: int(budget.Milliseconds()), Preferred: hostA, Settings: s}}})
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.logs())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	tc := &testCluster{Cluster: c, t: t, settings: s}
	tc.verified(hostA)
	return tc
}

// verified waits until the guest, heard from that host, has found its whole
// memory intact.
func (c *testCluster) verified(host string) Sighting {
	c.t.Helper()
	from := time.Now()
	start, err := c.Observer.Wait(c.settings.GocbRef, 2*time.Minute, func(s Sighting) bool { return s.At.After(from) && s.Source == host })
	must(c.t, err)
	last, err := c.Observer.Wait(c.settings.GocbRef, time.Minute, func(s Sighting) bool { return s.Report.VerifyPasses >= start.Report.VerifyPasses+2 })
	must(c.t, err)
	if last.Report.CorruptPages != 0 || last.Source != host {
		c.t.Fatalf("the guest on %s reports %+v; want no corrupt page, on %s", last.Source, last.Report, host)
	}
	return last
}

// since returns what was heard of the guest from a moment on, and checks that
// no two hosts were heard at the same moment.
func (c *testCluster) since(from time.Time) Sightings {
	c.t.Helper()
	seen := c.Observer.Between(c.settings.GocbRef, from, time.Now())
	if n := seen.CopiesMax(); n != 1 {
		c.t.Fatalf("%d copies of the guest ran at the same moment", n)
	}
	return seen
}

// followed orders a move by order, follows it to its end and returns the last line.
func (c *testCluster) followed(host string, order func(ctx context.Context, k *api.Client) (api.Accepted, error)) api.Progress {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	k := c.Client(host)
	accepted, err := order(ctx, k)
	must(c.t, err)
	r := api.ProgressRequest{Move: accepted.Move}
	if r.Move == "" {
		r.Host = host
	}
	var last api.Progress
	must(c.t, k.Progress(ctx, r, func(p api.Progress) {
		if p.Outcome != "" || p.Final {
			last = p
		}
	}))
	return last
}

func (c *testCluster) move(to string) api.Progress {
	c.t.Helper()
	return c.followed(to, func(ctx context.Context, k *api.Client) (api.Accepted, error) {
		return k.Move(ctx, api.Caller{}, api.MoveRequest{Guest: guest1, To: to})
	})
}

func TestE2EADrainedHostsGuestMovesWithinItsBudget(t *testing.T) {
	c := newTestCluster(t)
	from := time.Now()
	last := c.followed(hostA, func(ctx context.Context, k *api.Client) (api.Accepted, error) {
		return k.Drain(ctx, api.Caller{}, api.HostRequest{Host: hostA, Reason: "test"})
	})
	if last.Phase != "maintenance" {
		t.Fatalf("the drain ended with %+v; want the host in maintenance", last)
	}
	c.verified(hostB)
	gap, _ := c.since(from).LargestGap()
	t.Logf("largest gap %v", gap)
	blackout := gap - c.settings.GoosePeriod
	if blackout > testBudget {
		t.Errorf("blackout = %v; the budget is %v", blackout, testBudget)
	}
	// What the destination measured of it, for the next move's budget.
	heard := c.saysWaking(hostB)
	t.Logf("its destination heard it %v after it ran", heard)
	if slack := 20 * time.Millisecond; heard < time.Millisecond || heard > blackout+slack {
		t.Errorf("its destination heard it %v after it ran; the blackout was %v, stop included", heard, blackout)
	}
}

// saysWaking is what a host's daemon logs of a guest that came: how long it was not heard
// after it ran. It is waited for.
func (c *testCluster) saysWaking(host string) time.Duration {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		b, err := os.ReadFile(filepath.Join(c.options.Dir, host, "daemon.log"))
		must(c.t, err)
		if m := wakingInLog.FindSubmatch(b); m != nil {
			ms, err := strconv.Atoi(string(m[1]))
			must(c.t, err)
			return time.Duration(ms) * time.Millisecond
		}
	}
	c.t.Fatalf("%s does not say how long the guest was not heard", host)
	return 0
}

var wakingInLog = regexp.MustCompile(`the guest is heard where it runs now.*waking_ms"?[=:](\d+)`)

func TestE2EAMoveWhoseLinkStallsIsRolledBackWithinItsBudget(t *testing.T) {
	c := newTestCluster(t)
	from := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stalled, err := c.BeforeStop(ctx, func() error {
		time.AfterFunc(2*testBudget, func() { _, _ = c.Bed.Heal(hostB, LANA), c.Bed.Heal(hostB, LANB) })
		if err := c.Bed.Stall(hostB, LANA); err != nil {
			return err
		}
		return c.Bed.Stall(hostB, LANB)
	})
	must(t, err)
	last := c.move(hostB)
	must(t, <-stalled)
	if last.Outcome != "rolled-back" {
		t.Fatalf("outcome = %q (%s); want rolled-back", last.Outcome, last.Reason)
	}
	c.verified(hostA)
	gap, _ := c.since(from).LargestGap()
	t.Logf("largest gap %v", gap)
	if blackout := gap - c.settings.GoosePeriod; blackout > testBudget {
		t.Errorf("blackout = %v; the budget is %v", blackout, testBudget)
	}
	if again := c.move(hostB); again.Outcome != "moved" {
		t.Errorf("the next move ended %q (%s); want moved", again.Outcome, again.Reason)
	}
	c.verified(hostB)
}

// silentFor is how long a host has been silent, 0 when that is not known.
func silentFor(s api.Status, host string) time.Duration {
	for _, h := range s.Hosts {
		if h.Name == host && h.SilentS != nil {
			return time.Duration(*h.SilentS * float64(time.Second))
		}
	}
	return 0
}

func TestE2EAGuestOfADeadHostIsStartedAfterTheWaitingPeriodAndNotBefore(t *testing.T) {
	c := newTestCluster(t)
	st, err := c.Wait(time.Minute, "a status", func(s api.Status) bool { return s.WaitingPeriodS > 0 })
	must(t, err)
	cut := time.Now()
	must(t, c.Bed.PowerCut(hostA))
	_, err = c.Wait(time.Minute, "a host that does not lead to say that host-a is silent", func(s api.Status) bool {
		return s.Host != s.Leader && silentFor(s, hostA) > DefaultTiming().Lease
	})
	must(t, err)
	back, err := c.Observer.Wait(c.settings.GocbRef, 2*time.Minute, func(s Sighting) bool { return s.Source == hostB })
	must(t, err)
	// The last grant may be a third of a lease old when the power goes.
	took, least := back.At.Sub(cut).Seconds(), st.WaitingPeriodS-DefaultTiming().Lease.Seconds()/3
	t.Logf("back after %.1f s; waiting period %.1f s", took, st.WaitingPeriodS)
	if took < least {
		t.Errorf("the guest was back after %.1f s; it must not start before %.1f s", took, least)
	}
	c.verified(hostB)
	c.since(cut.Add(-5 * time.Second))
	for _, host := range []string{hostB, WitnessHost} { // one leads, the other does not
		_, err = c.Client(host).Drain(within(t), api.Caller{}, api.HostRequest{Host: WitnessHost, DryRun: true})
		if err == nil || !strings.Contains(err.Error(), hostA+" not answering") {
			t.Errorf("%s: drain %s --dry-run = %v; want it refused as the order would be", host, WitnessHost, err)
		}
	}

	// The host comes back: the guest stays where it is, once.
	must(t, c.PowerOn(hostA))
	_, err = c.Wait(time.Minute, "host-a to have a lease again", func(s api.Status) bool { return s.Host == hostA && s.LeaseLeftS > 0 })
	must(t, err)
	c.verified(hostB)
	c.since(cut.Add(-5 * time.Second))
	if last := c.move(hostA); last.Outcome != "moved" {
		t.Errorf("the move back ended %q (%s); want moved", last.Outcome, last.Reason)
	}
	c.verified(hostA)
}

func TestE2ERestartingTheDaemonLeavesItsGuestsRunning(t *testing.T) {
	c := newTestCluster(t)
	before, _ := c.Observer.Last(c.settings.GocbRef)
	from := time.Now()
	must(t, c.Bed.Host(hostA).KillDaemon(within(t)))
	must(t, c.StartDaemon(hostA))
	_, err := c.Wait(time.Minute, "the new daemon to find the guest", func(s api.Status) bool {
		return s.Host == hostA && s.LeaseLeftS > 0 && len(s.Guests) == 1 && s.Guests[0].Here == "running"
	})
	must(t, err)
	after := c.verified(hostA)
	if after.Report.BootID != before.Report.BootID {
		t.Error("the guest was booted again")
	}
	gap, _ := c.since(from).LargestGap()
	t.Logf("largest gap %v", gap)
	if n := c.Bed.WatchdogCuts(hostA); n != 0 {
		t.Errorf("the watchdog cut the host %d times; want never", n)
	}
	if last := c.move(hostB); last.Outcome != "moved" {
		t.Errorf("a move under the new daemon ended %q (%s); want moved", last.Outcome, last.Reason)
	}
	c.verified(hostB)
}

func TestE2EAHostWhoseDaemonStaysDeadIsCutAndItsGuestStartedElsewhere(t *testing.T) {
	c := newTestCluster(t)
	from := time.Now()
	must(t, c.Bed.Host(hostA).KillDaemon(within(t)))
	back, err := c.Observer.Wait(c.settings.GocbRef, 2*time.Minute, func(s Sighting) bool { return s.Source == hostB })
	must(t, err)
	t.Logf("back after %v", back.At.Sub(from))
	if n := c.Bed.WatchdogCuts(hostA); n != 1 {
		t.Errorf("the watchdog cut the host %d times; want once", n)
	}
	c.verified(hostB)
	c.since(from)
}

func TestE2EAPartitionedHostKillsItsGuestBeforeAnotherStartsIt(t *testing.T) {
	c := newTestCluster(t)
	from := time.Now()
	for _, lan := range []string{LANA, LANB} {
		must(t, c.Bed.Stall(hostA, lan))
	}
	_, err := c.Observer.Wait(c.settings.GocbRef, 2*time.Minute, func(s Sighting) bool { return s.Source == hostB })
	must(t, err)
	c.verified(hostB)
	for _, lan := range []string{LANA, LANB} {
		must(t, c.Bed.Heal(hostA, lan))
	}
	_, err = c.Wait(time.Minute, "host-a to have a lease again", func(s api.Status) bool { return s.Host == hostA && s.LeaseLeftS > 0 })
	must(t, err)
	c.verified(hostB)
	c.since(from)
}

func TestE2EOrdersThatCannotBeCarriedOutAreRefusedAndSayWhy(t *testing.T) {
	c := newTestCluster(t)
	ctx := within(t)
	refused := func(what, want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error = %v; want a refusal with %q", what, err, want)
		}
	}
	k := c.Client(hostA)
	would, err := k.Move(ctx, api.Caller{}, api.MoveRequest{Guest: guest1, To: hostB, DryRun: true})
	if want := fmt.Sprintf("within %d ms, %d of them kept until it is heard there", testBudget.Milliseconds(), WakingMs); err != nil || !strings.Contains(would.Text, want) {
		t.Errorf("a dry run says %q, %v; want %q", would.Text, err, want)
	}
	_, err = k.Move(ctx, api.Caller{}, api.MoveRequest{Guest: guest1, To: hostA})
	refused("a move to where it is", "already on", err)
	_, err = k.Move(ctx, api.Caller{}, api.MoveRequest{Guest: guest1, To: WitnessHost})
	refused("a move to the witness", "witness", err)
	_, err = k.Move(ctx, api.Caller{}, api.MoveRequest{Guest: "nobody", To: hostB})
	refused("a move of a guest that is not there", "no guest", err)
	_, err = k.Drain(ctx, api.Caller{}, api.HostRequest{Host: hostB})
	must(t, err)
	_, err = k.Move(ctx, api.Caller{}, api.MoveRequest{Guest: guest1, To: hostB})
	refused("a move to a host in maintenance", "maintenance", err)
	_, err = c.Client(WitnessHost).Drain(ctx, api.Caller{}, api.HostRequest{Host: WitnessHost})
	refused("a drain that leaves one host of three", "with host-b out of service too, 1 of 3 hosts would be left in service and 2 are needed", err)
	left := c.followed(hostA, func(ctx context.Context, k *api.Client) (api.Accepted, error) {
		return k.Drain(ctx, api.Caller{}, api.HostRequest{Host: hostA, Insist: true})
	})
	if left.Outcome != "refused" || !strings.Contains(left.Reason, "guest prot1 stays (no host can take guest prot1") {
		t.Errorf("a drain with nowhere to go ended with %+v; want it to say why the guest stays", left)
	}
	for _, host := range []string{hostA, hostB} {
		_, err = k.Resume(ctx, api.Caller{}, api.HostRequest{Host: host})
		must(t, err)
	}

	release := make(chan struct{})
	asked, err := c.BeforeStop(ctx, func() error {
		_, err := k.Move(ctx, api.Caller{}, api.MoveRequest{Guest: guest1, To: hostB})
		refused("a second move of the same guest", "mov", err)
		close(release)
		return nil
	})
	must(t, err)
	if last := c.move(hostB); last.Outcome != "moved" {
		t.Errorf("the first move ended %q (%s); want moved", last.Outcome, last.Reason)
	}
	must(t, <-asked)
	<-release
	c.verified(hostB)
}

// With a lease of 3 s and an election of 1.5 s this killed the guest in one run
// of eight or so.
func TestE2EALeaderThatIsCutOffForAMomentCostsNoGuest(t *testing.T) {
	c := newTestCluster(t)
	before, _ := c.Observer.Last(c.settings.GocbRef)
	from := time.Now()
	for range 3 {
		st, err := c.Wait(time.Minute, "a leader", func(s api.Status) bool { return s.Leader != "" && s.Leader == s.Host })
		must(t, err)
		for _, lan := range []string{LANA, LANB} {
			must(t, c.Bed.Stall(st.Leader, lan))
		}
		time.Sleep(1200 * time.Millisecond)
		for _, lan := range []string{LANA, LANB} {
			must(t, c.Bed.Heal(st.Leader, lan))
		}
		time.Sleep(DefaultTiming().Lease)
	}
	if after := c.verified(hostA); after.Report.BootID != before.Report.BootID {
		t.Error("the guest was killed and booted again")
	}
	c.since(from)
}
