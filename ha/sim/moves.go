package sim

import (
	"slices"
	"time"

	"bumpless/ha/core"
)

// The daemon's part of a move, as in appliance/node/moves.go.

func (d *daemon) prepare(a core.PrepareIncoming, end func()) {
	m, w := a.Move, d.h.w
	refuse := func(why string) {
		d.post(core.MoveResult{Move: m.ID, Outcome: core.Refused, Why: why})
		end()
	}
	if !w.calm && w.chance(0.05) {
		d.post(core.GuestStarted{Guest: m.Guest, Epoch: m.Epoch, Err: "another QEMU version"})
		refuse("another QEMU version")
		return
	}
	d.start(m.Guest, m.Epoch, a.NotAfter, true, func(err string) {
		if err != "" {
			refuse(err)
			return
		}
		d.observe(func() {
			if !w.calm && w.chance(0.03) {
				refuse("no gateway")
				return
			}
			d.runGateway(m, destination, m.Epoch)
			end()
		})
	})
}

func (d *daemon) runMove(a core.RunMove, end func()) {
	d.runGateway(a.Move, source, a.Epoch)
	end()
}

func (d *daemon) runGateway(m core.Move, role string, epoch uint64) {
	g := &gateway{h: d.h, d: d, move: m, role: role, epoch: epoch, alive: true}
	if w := d.h.w; !w.calm && w.chance(0.2) {
		g.dieAt = pick(w, phases)
	}
	d.h.gateways = append(d.h.gateways, g)
	d.gates[m.ID] = g
	g.later(d.h.w.often(20*time.Millisecond, time.Second), g.begin)
}

// gatewayEnded is followGateway: the marker is looked for after the process is
// gone, and core looks at the processes before it hears of the end.
func (d *daemon) gatewayEnded(g *gateway, r core.MoveResult) {
	if d.gates[g.move.ID] == g {
		delete(d.gates, g.move.ID)
	}
	r.Move = g.move.ID
	r.Committed = g.role == source && r.Outcome != core.Moved && d.h.marks[g.move.ID]
	d.observe(func() {
		d.post(r)
		d.observe(func() {})
	})
}

// abort ends this host's gateway of the move, and only then looks for the
// marker.
func (d *daemon) abort(a core.AbortMove, end func()) {
	if g := d.gates[a.Move]; g != nil {
		g.abort(a.Why)
		d.after(time.Second, func() {
			if g.alive {
				g.vanish() // its end is reported where it is followed
			}
			end()
		})
		return
	}
	for _, g := range slices.Clone(d.h.gateways) {
		if g.move.ID == a.Move {
			g.vanish()
		}
	}
	d.observe(func() {
		d.post(core.MoveResult{Move: a.Move, Outcome: core.Failed, Committed: d.h.marks[a.Move], Why: a.Why})
		d.observe(func() {})
		end()
	})
}
