package sim

import "time"

// network carries messages between hosts. Cuts are one way; a message is lost
// when its way is cut at either end of its flight.
type network struct {
	w    *World
	cut  map[[2]string]int // from, to: how many faults cut it now
	loss float64
}

func (n *network) init(w *World) { n.w, n.cut = w, map[[2]string]int{} }

func (n *network) open(from, to *host) bool {
	return from == to || n.cut[[2]string{from.name, to.name}] == 0
}

// linked: messages pass both ways.
func (n *network) linked(a, b *host) bool { return n.open(a, b) && n.open(b, a) }

// cutFor cuts one way for a while.
func (n *network) cutFor(from, to *host, d time.Duration) {
	way := [2]string{from.name, to.name}
	n.cut[way]++
	n.w.say(from.name, "link to %s cut for %v", to.name, d.Round(time.Millisecond))
	n.w.after(d, func() {
		if n.cut[way] > 0 {
			n.cut[way]--
		}
	})
}

func (n *network) heal() { n.cut, n.loss = map[[2]string]int{}, 0 }

// send runs do at the other host, if the message arrives; sometimes twice.
func (n *network) send(from, to *host, do func()) {
	if from == to {
		n.w.after(50*time.Microsecond, do)
		return
	}
	n.fly(from, to, n.w.often(10*time.Millisecond, 2*time.Second), do)
	if !n.w.calm && n.w.Script == nil && n.w.chance(0.01) {
		n.fly(from, to, n.w.between(0, 8*time.Second), do) // a replay
	}
}

func (n *network) fly(from, to *host, d time.Duration, do func()) {
	if !n.open(from, to) || n.w.chance(n.loss) {
		return
	}
	n.w.after(d, func() {
		if n.open(from, to) && to.on {
			do()
		}
	})
}

// call asks and brings the answer back to the daemon that asked. ask runs at
// the other host's daemon and must call answer at most once, whenever it likes.
func (n *network) call(from *daemon, to *host, ask func(d *daemon, answer func(back func()))) {
	n.send(from.h, to, func() {
		if to.d == nil {
			return
		}
		there := to.d
		there.run(func() {
			ask(there, func(back func()) {
				n.send(to, from.h, func() { from.run(back) })
			})
		})
	})
}
