package sim

import (
	"slices"
	"time"

	"bumpless/ha/core"
)

const (
	source      = "source"
	destination = "destination"
)

// phase of a gateway, in the order of migrate/gateway.
type phase string

const (
	connecting phase = "connect"
	streaming  phase = "stream"
	asking     phase = "about-to-stop"
	stopped    phase = "stop"
	draining   phase = "drain"
	loading    phase = "load"
	atReady    phase = "ready"
	marked     phase = "marked" // the marker is made, COMMIT not sent
	committed  phase = "commit"
	running    phase = "running"
	rollback   phase = "rollback"
)

var phases = []phase{connecting, streaming, asking, stopped, draining, loading, atReady, marked, committed, running, rollback}

// Times of a move. The whole move's limit is the site's; the others are
// migrate/gateway's.
const (
	moveTimeout = 8 * time.Second
	runningWait = 5 * time.Second
	margin      = 20 * time.Millisecond
)

// gateway is one gateway process. It lives until its result, until it is
// killed or until its host is off; the daemon that began it may end before.
type gateway struct {
	h     *host
	d     *daemon // that follows it
	move  core.Move
	role  string
	epoch uint64 // of the copy at its side
	phase phase
	dieAt phase // "" for none: a fault
	alive bool

	listens  bool
	peer     *gateway
	broken   bool // the connection, as this side knows
	deadline time.Duration
}

// later runs do unless the gateway is gone by then.
func (g *gateway) later(d time.Duration, do func()) {
	g.h.w.after(d, func() {
		if g.alive {
			do()
		}
	})
}

// enter notes a phase; false when the gateway dies there.
func (g *gateway) enter(p phase) bool {
	g.phase = p
	g.h.w.say(g.h.name, "%s gateway of %s: %s", g.role, g.move.ID, p)
	g.h.w.tempt(0.03, g.h.w.host(g.move.From), g.h.w.host(g.move.To))
	if !g.alive {
		return false
	}
	if g.dieAt == p {
		g.vanish()
		return false
	}
	return true
}

// vanish is SIGKILL, or the end of its host.
func (g *gateway) vanish() {
	if g.alive {
		g.h.w.say(g.h.name, "%s gateway of %s is killed in %s", g.role, g.move.ID, g.phase)
		g.exit(core.MoveResult{Outcome: core.Failed, Why: "its gateway ended without a word"})
	}
}

func (g *gateway) finish(o core.Outcome, why string) {
	g.h.w.say(g.h.name, "%s gateway of %s: %s %s", g.role, g.move.ID, o, why)
	g.exit(core.MoveResult{Outcome: o, Why: why})
}

func (g *gateway) exit(r core.MoveResult) {
	g.alive = false
	g.h.gateways = slices.DeleteFunc(g.h.gateways, func(o *gateway) bool { return o == g })
	if g.peer != nil {
		g.peer.later(g.h.w.often(20*time.Millisecond, 3*time.Second), g.peer.linkBroke)
	}
	g.d.after(g.h.w.often(2*time.Millisecond, 200*time.Millisecond), func() { g.d.gatewayEnded(g, r) })
}

func (g *gateway) copy() *proc { return g.h.find(g.move.Guest, g.epoch) }

// tell sends a frame to the peer. TCP tries again while the way is cut, also
// after the sender's end; the receiver may take what came before the break.
func (g *gateway) tell(do func()) {
	w, p, from, boot := g.h.w, g.peer, g.h, g.h.boots
	if p == nil {
		return
	}
	var fly func(d time.Duration)
	fly = func(d time.Duration) {
		w.after(d, func() {
			switch {
			case !p.alive:
			case w.net.open(from, p.h) && !w.chance(w.net.loss):
				do()
			case w.chance(0.2) || !from.on || from.boots != boot:
				p.linkBroke()
				g.later(w.often(20*time.Millisecond, 3*time.Second), g.linkBroke)
			default:
				fly(w.between(50*time.Millisecond, 500*time.Millisecond))
			}
		})
	}
	fly(w.often(4*time.Millisecond, 2*time.Second))
}

func (g *gateway) begin() {
	if g.role == destination {
		g.listen()
	} else {
		g.connect()
	}
}

// abort: its standard input says so, or has closed. It counts only before
// COMMIT.
func (g *gateway) abort(why string) {
	switch {
	case !g.alive || g.phase == marked || g.phase == committed || g.phase == running || g.phase == rollback:
	case g.role == destination:
		g.finish(core.Failed, why)
	default:
		g.giveUp(core.Failed, why)
	}
}

func (g *gateway) linkBroke() {
	if !g.alive || g.broken {
		return
	}
	g.broken = true
	switch {
	case g.phase == marked || g.phase == running || g.phase == rollback:
	case g.phase == committed && g.role == source:
		g.finish(core.Failed, "COMMIT was sent, RUNNING did not come: the link broke")
	case g.phase == committed:
	default:
		g.abort("the link broke")
	}
}

// giveUp ends the move before COMMIT: a guest that was stopped runs on.
func (g *gateway) giveUp(o core.Outcome, why string) {
	if g.phase != stopped && g.phase != draining && g.phase != atReady {
		g.finish(o, why)
		return
	}
	if !g.enter(rollback) {
		return
	}
	g.later(g.h.w.often(10*time.Millisecond, 10*time.Second), func() {
		p := g.copy()
		if p == nil || !g.h.w.calm && g.h.w.chance(0.05) {
			g.finish(core.Failed, why+"; and the guest could not be continued")
			return
		}
		p.run()
		g.finish(core.RolledBack, why)
	})
}

// listen is the destination, from its start.
func (g *gateway) listen() {
	if !g.enter(connecting) {
		return
	}
	g.later(moveTimeout+5*time.Second, func() { g.abort("timed out") })
	g.later(g.h.w.often(10*time.Millisecond, time.Second), func() {
		if g.copy() == nil {
			g.finish(core.Failed, "no QEMU")
			return
		}
		g.listens = true
		g.d.after(time.Millisecond, func() {
			g.d.post(core.IncomingReady{Move: g.move.ID, Addresses: []string{g.h.name + ":1"}})
		})
	})
}

// connect is the source, from its start.
func (g *gateway) connect() {
	w := g.h.w
	if !g.enter(connecting) {
		return
	}
	g.later(moveTimeout, func() { g.abort("timed out") })
	g.later(w.often(20*time.Millisecond, 2*time.Second), func() {
		p := g.copy()
		if p == nil || p.status != core.Running {
			g.finish(core.Failed, "the guest does not run")
			return
		}
		for _, o := range w.host(g.move.To).gateways {
			if o.move.ID == g.move.ID && o.role == destination && o.listens && o.peer == nil && w.net.linked(g.h, o.h) {
				g.peer, o.peer = o, g
			}
		}
		if g.peer == nil {
			g.finish(core.Failed, "nobody answers at the destination")
			return
		}
		g.peer.phase = streaming
		g.stream()
	})
}

func (g *gateway) stream() {
	w := g.h.w
	if !g.enter(streaming) {
		return
	}
	g.later(w.between(50*time.Millisecond, 3*time.Second), func() {
		if g.phase != streaming {
			return
		}
		if !w.calm && w.chance(0.1) {
			g.finish(core.Refused, "needs 1.4x the link")
			return
		}
		if !g.enter(asking) {
			return
		}
		g.d.after(time.Millisecond, func() { g.d.post(core.MoveAsksToStop{Move: g.move.ID}) })
	})
}

// stop is the daemon's "go".
func (g *gateway) stop() {
	w := g.h.w
	if g.phase != asking || !g.enter(stopped) {
		return
	}
	g.deadline = w.now + time.Duration(g.move.BudgetMs)*time.Millisecond - margin
	g.later(g.deadline-w.now, func() {
		if g.phase == stopped || g.phase == draining || g.phase == atReady {
			g.giveUp(core.RolledBack, "the deadline passed")
		}
	})
	g.later(w.often(5*time.Millisecond, 100*time.Millisecond), func() {
		p := g.copy()
		if g.phase != stopped {
			return
		}
		if p == nil {
			g.giveUp(core.Failed, "QEMU is gone")
			return
		}
		p.pause()
		if g.enter(draining) {
			g.later(w.between(5*time.Millisecond, 150*time.Millisecond), func() { g.tell(g.peer.load) })
		}
	})
}

// load is the destination, when it has everything.
func (g *gateway) load() {
	if g.phase != streaming || !g.enter(loading) {
		return
	}
	g.later(g.h.w.often(20*time.Millisecond, 400*time.Millisecond), func() {
		if p := g.copy(); p == nil {
			g.finish(core.Failed, "QEMU is gone")
			return
		}
		if g.phase == loading && g.enter(atReady) {
			g.tell(g.peer.ready)
		}
	})
}

// ready is the source, when READY has come: the marker, then COMMIT.
func (g *gateway) ready() {
	w := g.h.w
	if g.phase != draining {
		return
	}
	if !g.enter(atReady) {
		return
	}
	if w.now >= g.deadline {
		g.giveUp(core.RolledBack, "READY came after the deadline")
		return
	}
	if w.Break != ForgetsMarker {
		g.h.marks[g.move.ID] = true
	}
	if !g.enter(marked) {
		return
	}
	g.later(w.often(time.Millisecond, 3*time.Second), func() {
		g.phase = committed
		w.say(g.h.name, "COMMIT of %s is sent", g.move.ID)
		g.tell(g.peer.commit)
		if g.dieAt == committed {
			g.vanish()
			return
		}
		if g.broken {
			g.finish(core.Failed, "COMMIT could not be sent")
			return
		}
		g.later(runningWait, func() {
			if g.phase == committed {
				g.finish(core.Failed, "COMMIT was sent, RUNNING did not come")
			}
		})
	})
}

// commit is the destination, when COMMIT has come.
func (g *gateway) commit() {
	w := g.h.w
	if g.phase != atReady || !g.enter(committed) {
		return
	}
	g.later(w.often(3*time.Millisecond, 5*time.Second), func() {
		p := g.copy()
		if p == nil {
			g.finish(core.Failed, "QEMU is gone")
			return
		}
		p.run()
		if !g.enter(running) {
			return
		}
		g.tell(g.peer.confirmed)
		g.later(w.often(10*time.Millisecond, time.Second), func() {
			if !w.calm && w.chance(0.05) {
				g.finish(core.Failed, "wait for the guest to run: timed out") // it runs all the same
				return
			}
			g.finish(core.Moved, "")
		})
	})
}

// confirmed is the source, when RUNNING has come.
func (g *gateway) confirmed() {
	if g.phase == committed && g.enter(running) {
		g.later(g.h.w.often(10*time.Millisecond, 2*time.Second), func() { g.finish(core.Moved, "") })
	}
}
