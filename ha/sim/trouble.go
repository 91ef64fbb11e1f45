package sim

import (
	"slices"
	"time"

	"bumpless/ha/core"
)

// groups of the site's guests: main 1 and main 2 are partners.
var groups = map[string]string{"main1": "protection", "main2": "protection", "scada": "", "gateway": ""}

// registerSite enters the site file, as a leader's daemon does.
func (d *daemon) registerSite() {
	by := core.Order{Name: d.h.name, Role: core.RoleHost}
	state := d.h.w.log.states[d.h.raft.applied]
	for _, h := range d.h.w.hosts {
		if _, known := state.Hosts[h.name]; !known {
			d.enter(core.Command{By: by, RegisterHost: &core.RegisterHost{Name: h.name, Role: h.role, MemoryMiB: 8192}}, true, func(bool, core.Result) {})
		}
	}
	for _, name := range []string{"main1", "main2", "scada", "gateway"} {
		if _, known := state.Guests[name]; !known {
			spec := core.GuestSpec{Name: name, Spec: name, MemoryMiB: 1024, Group: groups[name], BudgetMs: 300}
			d.enter(core.Command{By: by, RegisterGuest: &core.RegisterGuest{GuestSpec: spec, Wanted: true}}, true, func(bool, core.Result) {})
		}
	}
}

// trouble is one fault, and then the next.
func (w *World) trouble() {
	if w.calm {
		return
	}
	w.Stats.Faults++
	pick(w, faults())(w, pick(w, w.hosts))
	pause := w.between(300*time.Millisecond, 8*time.Second)
	if w.chance(0.3) {
		pause = w.between(0, 300*time.Millisecond) // faults like company
	}
	w.after(pause, w.trouble)
}

// tempt makes a fault on one of the hosts likely right now: at a step of a
// move, or of the log, where it may hurt most.
func (w *World) tempt(p float64, hosts ...*host) {
	if w.calm || w.Script != nil || w.now < 5*time.Second || !w.chance(p) {
		return
	}
	w.Stats.Faults++
	h, fault := pick(w, hosts), pick(w, faults())
	w.after(w.often(time.Millisecond, 100*time.Millisecond), func() { fault(w, h) })
}

// comeBack brings a silent host back at the very moment at which it is being
// declared stopped.
func (w *World) comeBack(h *host) {
	if w.calm || w.Script != nil || !w.chance(0.3) {
		return
	}
	w.after(w.often(5*time.Millisecond, 100*time.Millisecond), func() {
		w.say(h.name, "comes back")
		w.net.cut = map[[2]string]int{}
		if h.d != nil {
			h.d.thaw()
		}
		h.powerOn()
	})
}

// faults, the likely ones more than once.
func faults() []func(*World, *host) {
	return []func(*World, *host){
		powerCut, powerCut, daemonCrash, daemonCrash, daemonCrash, freeze, freeze, oneWay, oneWay, isolate, isolate, loss,
		gatewayKill, gatewayKill, gatewayKill, stuckGuest, stuckGuest, guestCrash, election, deafMonitor,
	}
}

func powerCut(w *World, h *host) {
	h.powerOff("power cut")
	w.after(w.between(time.Second, 15*time.Second), h.powerOn)
}

func daemonCrash(w *World, h *host) {
	h.endDaemon()
	w.after(w.often(time.Second, 8*time.Second), h.startDaemon)
}

func freeze(w *World, h *host) {
	if d := h.d; d != nil && !d.frozen {
		d.frozen = true
		t := w.between(50*time.Millisecond, []time.Duration{time.Second, 4 * time.Second, 9 * time.Second}[w.rng.IntN(3)])
		w.say(h.name, "daemon %d freezes for %v", d.id, t.Round(time.Millisecond))
		w.after(t, d.thaw)
	}
}

func oneWay(w *World, h *host) {
	if o := pick(w, w.hosts); o != h {
		w.net.cutFor(h, o, w.between(100*time.Millisecond, 10*time.Second))
	}
}

func isolate(w *World, h *host) {
	t := w.between(100*time.Millisecond, 15*time.Second)
	for _, o := range w.hosts {
		if o != h {
			w.net.cutFor(h, o, t)
			w.net.cutFor(o, h, t)
		}
	}
}

func loss(w *World, _ *host) {
	w.net.loss = w.between(50*time.Millisecond, 500*time.Millisecond).Seconds()
	w.say("", "links lose %.0f %%", 100*w.net.loss)
	w.after(w.between(time.Second, 4*time.Second), func() { w.net.loss = 0 })
}

func gatewayKill(w *World, h *host) {
	for _, g := range slices.Clone(h.gateways) {
		g.vanish()
	}
}

func stuckGuest(w *World, h *host) {
	if len(h.procs) == 0 {
		return
	}
	p := pick(w, h.procs)
	p.stuck = true
	w.say(h.name, "%s will not die", p)
	if w.chance(0.5) {
		w.after(w.between(time.Second, 10*time.Second), func() { p.stuck, p.freed = false, w.now })
	}
}

func guestCrash(w *World, h *host) {
	if len(h.procs) > 0 {
		if p := pick(w, h.procs); !p.stuck {
			h.remove(p)
		}
	}
}

// deafMonitor: the guest runs on, and its monitor does not answer.
func deafMonitor(w *World, h *host) {
	if len(h.procs) > 0 {
		p := pick(w, h.procs)
		p.deaf = w.now + w.between(500*time.Millisecond, 15*time.Second)
		w.say(h.name, "the monitor of %s is deaf", p)
	}
}

// election hands the leadership to somebody else although nothing is wrong.
func election(w *World, h *host) {
	if voters := w.log.quorum(h); voters != nil && w.log.leader != h {
		w.log.elect(h, voters)
	}
}

// operate gives operators' orders through any host.
func (w *World) operate() {
	if w.calm {
		return
	}
	w.after(w.between(300*time.Millisecond, 3*time.Second), w.operate)
	c := core.Command{By: core.Order{Name: "operator", Role: []string{"OPERATOR", "ENGINEER"}[w.rng.IntN(2)]}}
	state := w.log.state()
	if len(state.Guests) == 0 {
		return
	}
	name := pick(w, guests(state))
	switch g := state.Guests[name]; w.rng.IntN(10) {
	case 0:
		c.SetWanted = &core.SetWanted{Guest: name, Wanted: w.chance(0.8)}
	case 1, 2, 3:
		c.SetMaintenance = &core.SetMaintenance{Host: pick(w, w.hosts).name, On: w.chance(0.4)}
	default:
		to := pick(w, w.hosts)
		for range 2 { // mostly an order that makes sense
			if to.name == g.Owner || to.role != core.Server {
				to = pick(w, w.hosts)
			}
		}
		c.BeginMove = &core.BeginMove{ID: core.MoveID(name, g.Epoch+1), Guest: name, To: to.name, Epoch: g.Epoch,
			Reason: "operator", Insist: c.By.Role == "ENGINEER" && w.chance(0.3)}
	}
	w.order(c)
}

func (w *World) order(c core.Command) {
	if d := pick(w, w.hosts).d; d != nil {
		d.run(func() { d.enter(c, false, func(bool, core.Result) {}) })
	}
}

// heal ends all faults, and brings every host and guest back into service.
func (w *World) heal() {
	w.calm = true
	w.say("", "ALL FAULTS END")
	w.net.heal()
	w.log.stalled = 0
	for _, h := range w.hosts {
		for _, p := range h.procs {
			p.stuck, p.hidden, p.deaf, p.freed = false, false, 0, w.now
		}
		for _, g := range h.gateways {
			g.dieAt = ""
		}
		if h.d != nil {
			h.d.thaw()
		}
		w.after(w.between(0, 3*time.Second), func() {
			h.powerOn()
			h.startDaemon()
		})
	}
	w.after(5*time.Second, w.restore)
}

// restore repeats the last orders until they are in the log.
func (w *World) restore() {
	state, again := w.log.state(), len(w.log.state().Guests) == 0
	by := core.Order{Name: "engineer", Role: "ENGINEER"}
	for _, h := range w.hosts {
		if s := state.Hosts[h.name]; s.Service != core.InService {
			again = true
			w.order(core.Command{By: by, SetMaintenance: &core.SetMaintenance{Host: h.name}})
		}
	}
	for _, name := range guests(state) {
		if !state.Guests[name].Wanted {
			again = true
			w.order(core.Command{By: by, SetWanted: &core.SetWanted{Guest: name, Wanted: true}})
		}
	}
	if again {
		w.after(time.Second, w.restore)
		return
	}
	w.check.rested = w.now
}
