package policy

import "slices"

// Waking is how long a guest was not heard after it ran at its destination, at its
// last moves to one host, in ms, oldest first: to whoever listens it was stopped for
// that long more. Nothing can be taken back then, so that it is kept of the budget
// beforehand. Under emulation it is 50 to 100 ms, in which code is translated anew.
type Waking []int

// wakings that count.
const wakings = 5

// Add one. The oldest gives way.
func (w Waking) Add(ms int) Waking {
	w = append(slices.Clone(w), max(1, ms))
	return w[max(0, len(w)-wakings):]
}

// Keep so much of a budget, in ms: the second largest of the last five. The largest
// may be one moment in which a host had other work, and would refuse every move until
// it is forgotten, which only moves can bring about. standard counts for what has not
// been measured yet.
func (w Waking) Keep(standard int) int {
	all := slices.Clone(w[max(0, len(w)-wakings):])
	for len(all) < wakings {
		all = append(all, standard)
	}
	slices.Sort(all)
	return all[len(all)-2]
}
