package gateway

// queue of pages that wait for the senders: first in, first out. A page whose
// last content some connection has carried, and keeps, waits for that one, so
// that it can go as a delta; one that was not sent before for the one where its
// like went, so that it can go as the same.
type queue struct {
	anyone []int
	own    [][]int // of each connection; none when there are no deltas
	length int
}

// stealFrom pages in another one's queue on, a sender that has nothing to do
// takes of them: a LAN that is slow must not keep them. What the other one has
// carried goes whole.
const stealFrom = 64

func (q *queue) add(at int) {
	q.anyone = append(q.anyone, at)
	q.length++
}

// addFor waits for one connection.
func (q *queue) addFor(connection, at int) {
	q.own[connection] = append(q.own[connection], at)
	q.length++
}

// next is the list that a connection's sender takes from; empty when there is
// nothing for it. stolen: it is another one's.
func (q *queue) next(connection int) (list *[]int, stolen bool) {
	if connection < len(q.own) && len(q.own[connection]) > 0 {
		return &q.own[connection], false
	}
	if len(q.anyone) > 0 {
		return &q.anyone, false
	}
	for i := range q.own {
		if len(q.own[i]) >= stealFrom {
			return &q.own[i], true
		}
	}
	return &q.anyone, false
}

// all pages that wait.
func (q *queue) all() (list []int) {
	list = append(list, q.anyone...)
	for _, own := range q.own {
		list = append(list, own...)
	}
	return list
}
