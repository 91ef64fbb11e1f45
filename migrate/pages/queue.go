package pages

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

// of a connection: how many pages it may take, its own and anyone's.
func (q *queue) of(connection int) int {
	n := len(q.anyone)
	if connection < len(q.own) {
		n += len(q.own[connection])
	}
	return n
}

// all pages that wait.
func (q *queue) all() (list []int) {
	list = append(list, q.anyone...)
	for _, own := range q.own {
		list = append(list, own...)
	}
	return list
}

// Line of pages that wait, for one connection.
type Line struct {
	list       *[]int
	connection int
	Stolen     bool // another connection's own
	Anyones    bool
}

// Carry says that there are so many connections that keep the contents that they
// carry: then a page waits for the one that keeps its own. likes, if there is one,
// is the same for pages whose newest contents are the same: a page that no
// connection has carried waits for the one that it names.
func (t *Table[Tag]) Carry(connections int, likes func(at int) uint64) {
	t.queue.own, t.likes = make([][]int, connections), likes
	t.spare.own = make([]spareLine, connections)
}

// Line that a connection's sender takes from next; false when there is nothing
// for it.
func (t *Table[Tag]) Line(connection int) (l Line, some bool) {
	q := &t.queue
	t.letSomeGo(connection)
	if connection < len(q.own) && len(q.own[connection]) > 0 {
		return Line{list: &q.own[connection], connection: connection}, true
	}
	if len(q.anyone) > 0 {
		return t.Anyone(connection), true
	}
	for i := range q.own {
		if len(q.own[i]) >= stealFrom {
			return Line{list: &q.own[i], connection: connection, Stolen: true}, true
		}
	}
	return Line{}, false
}

// Anyone is the line of those that any connection may take.
func (t *Table[Tag]) Anyone(connection int) Line {
	return Line{list: &t.queue.anyone, connection: connection, Anyones: true}
}

// Out is a page that leaves.
type Out struct {
	At      int
	Version uint32 // counts what was sent of this page, from 1
	Content bool   // false: it is zero
	Keep    bool   // the connection keeps the content from now on
}

// Pop takes the next page out of a line: one with a content only if there is room
// for that. ok is false when there is none.
func (t *Table[Tag]) Pop(l Line, room bool) (out Out, ok bool) {
	for len(*l.list) > 0 {
		at := (*l.list)[0]
		e := &t.entries[at]
		if e.content && !room {
			break
		}
		*l.list = (*l.list)[1:]
		t.queue.length--
		if e.state == queued {
			return t.leave(at, l), true
		} // else it was dropped while it waited
	}
	return Out{}, false
}

// leave: a page is being sent.
func (t *Table[Tag]) leave(at int, l Line) Out {
	e := &t.entries[at]
	e.state = idle
	t.countSteady(e.history)
	t.notBulk(e)
	e.version++
	e.sent, e.reading = e.newest, t.ahead && e.content
	out := Out{At: at, Version: e.version, Content: e.content}
	if !e.content {
		return out
	}
	t.keep(e, false)
	if len(t.queue.own) > 0 && !(l.Stolen && e.carried) {
		out.Keep, e.carrier, e.carried = true, uint8(l.connection), true
	}
	return out
}
