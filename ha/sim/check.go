package sim

import (
	"fmt"
	"slices"
	"time"

	"bumpless/ha/core"
)

// checker holds the cluster to its promises. It looks at simulated processes
// and true time, and at the log only for what was decided, never at an Agent.
type checker struct {
	w         *World
	violation error
	done      bool

	given   map[copyID]string        // host to which the log gave that epoch
	made    map[copyID]bool          // created once
	ran     map[copyID]bool          // has run
	highest map[string]uint64        // by guest: the highest epoch that has run
	barred  map[[2]string]uint64     // guest, host: no copy up to that epoch may run any more
	lease   map[string]time.Duration // by host: true time until which it was granted a lease
	excused map[string]time.Duration // by host: when there was last a reason not to pet
	leased0 map[string]time.Duration // by host: since when it has held its lease without a gap
	wanted  map[string]time.Duration // by guest: since when it is wanted

	rested time.Duration // true time at which the last order of the end was in
}

type copyID struct {
	guest string
	epoch uint64
}

func (c *checker) init(w *World) {
	*c = checker{w: w, given: map[copyID]string{}, made: map[copyID]bool{}, ran: map[copyID]bool{}, highest: map[string]uint64{},
		barred: map[[2]string]uint64{}, lease: map[string]time.Duration{}, excused: map[string]time.Duration{},
		leased0: map[string]time.Duration{}, wanted: map[string]time.Duration{}}
}

func (c *checker) fail(format string, args ...any) {
	if c.violation == nil {
		c.violation = fmt.Errorf("at %.4f s: %s", c.w.now.Seconds(), fmt.Sprintf(format, args...))
		c.w.say("!", "VIOLATION: %s", fmt.Sprintf(format, args...))
	}
}

// created: an epoch makes one copy in all eternity.
func (c *checker) created(p *proc) {
	id := copyID{p.guest, p.epoch}
	if c.made[id] {
		c.fail("copy %s is created a second time, on %s", p, p.h.name)
	}
	c.made[id] = true
}

// runs: the vCPUs of p begin to run now.
//
//   - no other copy of the guest runs anywhere;
//   - the log gave this epoch to this host, and has not taken it back;
//   - an epoch that never ran is above all that ran;
//   - no partner of the redundancy group runs on this host.
func (c *checker) runs(p *proc) {
	id := copyID{p.guest, p.epoch}
	for _, o := range c.running(p.guest) {
		if o != p {
			c.fail("two copies run: %s on %s beside %s on %s", p, p.h.name, o, o.h.name)
		}
	}
	if c.given[id] != p.h.name {
		c.fail("%s runs on %s, the log gave it to %q", p, p.h.name, c.given[id])
	}
	if c.barred[[2]string{p.guest, p.h.name}] >= p.epoch {
		c.fail("%s runs on %s after it was held to be proved stopped", p, p.h.name)
	}
	if !c.ran[id] && p.epoch <= c.highest[p.guest] {
		c.fail("%s runs for the first time after epoch %d had run", p, c.highest[p.guest])
	}
	c.ran[id], c.highest[p.guest] = true, max(c.highest[p.guest], p.epoch)
	for _, o := range p.h.procs {
		if o.guest != p.guest && o.status == core.Running && groups[o.guest] != "" && groups[o.guest] == groups[p.guest] {
			c.fail("partners %s and %s run on host %s", o, p, p.h.name)
		}
	}
}

func (c *checker) running(guest string) (list []*proc) {
	for _, h := range c.w.hosts {
		for _, p := range h.procs {
			if p.guest == guest && p.status == core.Running {
				list = append(list, p)
			}
		}
	}
	return list
}

// applied: an entry of the log. What it takes out of MayRun must not be running
// and never runs again, whoever said so and on whatever proof.
func (c *checker) applied(before, after core.State, cmd core.Command) {
	c.count(before, after, cmd)
	for name, g := range after.Guests {
		was := before.Guests[name]
		if !g.Wanted || !was.Wanted {
			c.wanted[name] = c.w.now
		}
		if g.Epoch < was.Epoch || g.Copy < was.Copy && before.Moves[name].ID == "" {
			c.fail("guest %s goes back from epoch %d (copy %d) to %d (copy %d)", name, was.Epoch, was.Copy, g.Epoch, g.Copy)
		}
		for host, epoch := range g.MayRun {
			if was.MayRun[host] != epoch {
				c.given[copyID{name, epoch}] = host
			}
		}
		for host, epoch := range was.MayRun {
			if g.MayRun[host] != epoch {
				c.bar(name, host, epoch, cmd)
			}
		}
		for other := range after.Moves {
			if _, moving := after.Moves[name]; moving && other != name && groups[name] != "" && groups[other] == groups[name] {
				c.fail("partners %s and %s move at the same time", name, other)
			}
		}
	}
}

func (c *checker) bar(guest, host string, epoch uint64, cmd core.Command) {
	c.barred[[2]string{guest, host}] = epoch
	gone := cmd.ReportStopped != nil || cmd.HostGone != nil
	for _, p := range c.w.host(host).procs {
		if p.guest != guest || p.epoch > epoch {
			continue
		}
		if p.status == core.Running || gone {
			c.fail("%s is held to be proved stopped on %s by %s, and is %s", p, host, describe(cmd), p.status)
		}
	}
}

func (c *checker) count(before, after core.State, cmd core.Command) {
	for guest, m := range before.Moves {
		if _, on := after.Moves[guest]; on {
			continue
		}
		end, _ := after.FindMove(m.ID)
		// The memory of a source is out of date once the destination has run:
		// a host that knows so must not say that its copy never did.
		if d := c.w.host(m.To).d; end.Outcome == core.RolledBack && cmd.ReportStopped != nil && d != nil && d.saw[copyID{guest, m.Epoch}] {
			c.fail("move %s is rolled back on the word of %s, where %s/%d has run", m.ID, m.To, guest, m.Epoch)
		}
		s := &c.w.Stats
		*map[core.Outcome]*int{core.Moved: &s.Moves, core.RolledBack: &s.RolledBack, core.Refused: &s.Refused, core.Failed: &s.Failed}[end.Outcome]++
		if end.Late {
			s.InDoubt++
		}
	}
	if cmd.HostGone != nil && len(after.Records) > 0 {
		c.w.Stats.Takeovers++
	}
}

// leased: the host takes in a grant of a lease that it asked for at that time.
func (c *checker) leased(h *host, asked time.Duration) {
	if c.w.now > c.lease[h.name] {
		c.leased0[h.name] = c.w.now
	}
	c.lease[h.name] = max(c.lease[h.name], asked+h.trueTime(c.w.Timing.Lease))
}

// longest is the true time in which d may pass on a clock that is slow.
func (c *checker) longest(d time.Duration) time.Duration {
	return time.Duration(float64(d) / (1 - float64(c.w.Timing.DriftPPM)/1e6))
}

// killed: a daemon kills p. It must not kill a guest that runs well: one that
// the log wants to run here, on a host with a lease.
func (c *checker) killed(p *proc) {
	g := c.w.log.state().Guests[p.guest]
	if p.status != core.Running || !g.Wanted || g.Owner != p.h.name || g.Copy != p.epoch || g.MayRun[p.h.name] != p.epoch {
		return
	}
	// What the daemon did not know yet cannot be held against it; and a start
	// that was under way when the lease was lost is undone.
	recent := c.w.now - c.longest(c.w.Timing.Lease)
	if c.w.now < c.lease[p.h.name] && c.leased0[p.h.name] < p.born-2*time.Second && c.wanted[p.guest] < recent && c.wanted[p.guest] < p.born {
		c.fail("%s is killed on %s, where it runs well", p, p.h.name)
	}
}

// excuse notes a reason for which a host's watchdog may run out.
func (c *checker) excuse(h *host) { c.excused[h.name] = c.w.now }

// expired: a watchdog has run out. A host with a working daemon, with a lease
// or without guests, is not reset.
func (c *checker) expired(h *host) {
	c.sample(h)
	if since := c.w.now - c.excused[h.name]; since > c.longest(c.w.Timing.WatchdogTimeout)+100*time.Millisecond {
		c.fail("the watchdog of %s runs out, and %v ago there was the last reason for it", h.name, since)
	}
}

// sample is called at least every 100 ms.
func (c *checker) sample(h *host) {
	if !h.up() || c.w.now > h.booted && len(h.procs) > 0 && c.w.now+100*time.Millisecond > c.lease[h.name] {
		c.excuse(h)
	}
}

func (c *checker) regular() {
	t := c.w.Timing
	for _, h := range c.w.hosts {
		c.sample(h)
		// No copy outlives the lease by more than the watchdog and the reset.
		if end := c.lease[h.name] + c.longest(t.WatchdogTimeout) + t.ResetTime + time.Millisecond; len(h.procs) > 0 && c.w.now > end {
			c.fail("%s lives on %s, whose lease ended at %.4f s", h.procs[0], h.name, c.lease[h.name].Seconds())
		}
		c.lapsed(h)
	}
	if c.w.calm {
		c.rest()
	}
}

// lapsed: a daemon that is awake kills what has no lease, in two seconds (an
// observation, a kill and one repetition); a new one first waits for its own.
func (c *checker) lapsed(h *host) {
	if !h.up() {
		return
	}
	end := max(c.lease[h.name], h.d.awake+c.longest(c.w.Timing.Lease)) + 2*time.Second
	for _, p := range h.procs {
		if !p.stuck && c.w.now > end && c.w.now > max(p.born, p.freed)+2*time.Second {
			c.fail("%s is not killed on %s, whose lease ended at %.4f s", p, h.name, c.lease[h.name].Seconds())
		}
	}
}

// Slack is what a cluster may take after the end of all faults, beside the
// waiting period: a boot (5 s), an election (3 s), two leases, and one whole
// move with its retry (PrepareTimeout, moveTimeout, runningWait, RetryMax).
func (w *World) Slack() time.Duration {
	t := w.Timing
	return 8*time.Second + 2*t.Lease + t.PrepareTimeout + moveTimeout + runningWait + t.RetryMax
}

// rest: when faults have ended, and the slack has passed, every guest runs in
// exactly one place and no move is on; and so it stays for five seconds.
func (c *checker) rest() {
	if c.rested == 0 {
		if c.w.now > c.w.Faults+20*time.Second {
			c.fail("20 s after the end of all faults the log takes no orders")
		}
		return
	}
	due := c.rested + c.longest(c.w.Timing.WaitingPeriod()) + c.w.Slack()
	if c.w.now < due {
		return
	}
	state := c.w.log.state()
	for _, name := range guests(state) {
		if list := c.running(name); len(list) != 1 {
			c.fail("guest %s runs in %d places after rest: %v", name, len(list), list)
		}
		if m, moving := state.Moves[name]; moving {
			c.fail("move %s is still %s after rest", m.ID, m.Phase)
		}
	}
	c.done = c.w.now > due+5*time.Second
}

func guests(s core.State) (list []string) {
	for name := range s.Guests {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
