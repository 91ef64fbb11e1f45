package sim

import (
	"fmt"
	"slices"
	"time"

	"bumpless/ha/core"
)

// host is the hardware with what lives on it: processes, gateways, watchdog.
type host struct {
	w    *World
	name string
	role core.Role

	on     bool
	boots  int           // number of the present boot
	booted time.Duration // true time
	rate   float64       // of its clock

	procs    []*proc
	gateways []*gateway
	marks    map[string]bool // commit markers, by move; gone with the boot
	dog      dog
	d        *daemon // nil while none runs

	raft raft // on disk
}

// proc is one hypervisor process.
type proc struct {
	h      *host
	guest  string
	epoch  uint64
	status core.Status
	born   time.Duration
	freed  time.Duration // when it could die again
	stuck  bool          // does not die (until the host does)
	hidden bool          // see LiesAboutDead
	fresh  bool          // created to receive, has never run
	deaf   time.Duration // its monitor does not answer until then
}

// dog is the hardware watchdog: armed by the first pet, and then for good.
type dog struct {
	armed bool
	pets  int
}

// clock is the host's monotonic time since boot.
func (h *host) clock() time.Duration {
	return time.Duration(float64(h.w.now-h.booted)*h.rate) + time.Second
}

// trueTime is how long d of this host's clock lasts.
func (h *host) trueTime(d time.Duration) time.Duration { return time.Duration(float64(d) / h.rate) }

func (h *host) powerOn() {
	if h.on {
		return
	}
	p := float64(h.w.Timing.DriftPPM) / 1e6
	h.on, h.booted, h.marks, h.dog = true, h.w.now, map[string]bool{}, dog{}
	h.rate = 1 + p*[]float64{-1, 1, 0, 2*h.w.rng.Float64() - 1}[h.w.rng.IntN(4)]
	h.boots++
	h.w.say(h.name, "power on")
	h.startDaemon()
}

// powerOff ends everything on the host at once.
func (h *host) powerOff(why string) {
	if !h.on {
		return
	}
	h.w.say(h.name, "POWER OFF: %s", why)
	h.on = false
	h.endDaemon()
	for _, p := range slices.Clone(h.procs) {
		h.remove(p)
	}
	for _, g := range slices.Clone(h.gateways) {
		g.vanish()
	}
}

func (h *host) startDaemon() {
	if !h.on || h.d != nil {
		return
	}
	h.w.daemon++
	h.d = newDaemon(h, h.w.daemon)
	if h.w.Break == OpeningPets && h.dog.armed {
		h.pet()
	}
	h.w.say(h.name, "daemon %d starts", h.d.id)
	h.d.begin()
}

// endDaemon: guests and gateways live on; the gateways see their standard
// input close.
func (h *host) endDaemon() {
	if h.d == nil {
		return
	}
	h.w.say(h.name, "daemon %d ends", h.d.id)
	h.d = nil
	h.w.check.excuse(h)
	if h.w.Break == OpeningPets && h.dog.armed {
		h.pet() // Linux pets once when the file is closed, too
	}
	h.raft.leads = 0
	h.w.log.drop(h)
	for _, g := range h.gateways {
		g.later(h.w.often(20*time.Millisecond, 3*time.Second), func() { g.abort("the daemon is gone") })
	}
}

// pet restarts the countdown of the hardware.
func (h *host) pet() {
	h.dog.armed = true
	h.dog.pets++
	pets, boot := h.dog.pets, h.boots
	p := float64(h.w.Timing.DriftPPM) / 1e6
	timeout := time.Duration(float64(h.w.Timing.WatchdogTimeout) * (1 + p*(2*h.w.rng.Float64()-1)))
	if h.w.Break == SlowWatchdog {
		timeout *= 3
	}
	h.w.after(timeout, func() {
		if !h.on || h.boots != boot || h.dog.pets != pets {
			return
		}
		h.w.check.expired(h)
		h.w.say(h.name, "watchdog runs out")
		h.w.after(h.w.between(0, h.w.Timing.ResetTime), func() {
			if h.boots == boot && h.on {
				h.w.Stats.Resets++
				h.powerOff("reset by its watchdog")
				h.w.after(h.w.between(2*time.Second, 8*time.Second), h.powerOn)
			}
		})
	})
}

func (h *host) find(guest string, epoch uint64) *proc {
	for _, p := range h.procs {
		if p.guest == guest && p.epoch == epoch {
			return p
		}
	}
	return nil
}

func (h *host) anyOf(guest string) bool {
	return slices.ContainsFunc(h.procs, func(p *proc) bool { return p.guest == guest })
}

// create makes a process. An incoming one waits, stopped.
func (h *host) create(guest string, epoch uint64, incoming bool) *proc {
	p := &proc{h: h, guest: guest, epoch: epoch, status: core.Incoming, fresh: incoming, born: h.w.now}
	h.procs = append(h.procs, p)
	h.w.check.created(p)
	if !incoming {
		h.w.Stats.Starts++
		p.run()
	}
	return p
}

func (h *host) remove(p *proc) {
	h.procs = slices.DeleteFunc(h.procs, func(q *proc) bool { return q == p })
	p.status = ""
	h.w.say(h.name, "%s is gone", p)
}

// kill ends every copy up to an epoch; one that is stuck stays.
func (h *host) kill(guest string, upTo uint64) {
	for _, p := range slices.Clone(h.procs) {
		switch {
		case p.guest != guest || p.epoch > upTo:
		case p.stuck:
			p.hidden = h.w.Break == LiesAboutDead
			h.w.say(h.name, "%s does not die", p)
		default:
			h.w.check.killed(p)
			h.remove(p)
		}
	}
}

func (p *proc) String() string { return fmt.Sprintf("%s/%d", p.guest, p.epoch) }

// run lets the guest run: `cont`, or a cold start. QEMU does it for any paused
// process, whatever the move's state.
func (p *proc) run() {
	if p.status == core.Running || p.status == "" {
		return
	}
	p.status, p.fresh = core.Running, false
	p.h.w.say(p.h.name, "%s RUNS", p)
	p.h.w.check.runs(p)
}

func (p *proc) pause() {
	if p.status == core.Running {
		p.status = core.Paused
		p.h.w.say(p.h.name, "%s paused", p)
	}
}

// look is what its monitor says.
func (p *proc) look() core.Status {
	if p.status == "" || p.h.w.now < p.deaf || !p.h.w.calm && p.h.w.chance(0.01) {
		return core.Unclear
	}
	return p.status
}
