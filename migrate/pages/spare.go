package pages

import (
	"math/bits"
	"time"

	"bumpless/migrate/policy"
)

// spare are held pages that the policy has released to a link that has nothing else to
// do (policy.Traits.QuietestFirst), by the lines that they will wait in.
type spare struct {
	anyone spareLine
	own    []spareLine // of each connection
}

// spareLine of pages: first those that are expected to stay as they are for longest.
type spareLine struct {
	sorted   []sparePage // from next on they have not left
	next     int
	unsorted []sparePage
}

type sparePage struct {
	at   uint32
	rank rank
}

// rank of a time until a page's next write: 0 is the longest. There are 16 to each
// doubling of it, from 1 ms to 65 s: to sort a large guest's pages exactly would take
// as long as a pass.
type rank uint8

const (
	ranks         = 256
	rankBits      = 4 // of a doubling
	mostDoublings = ranks>>rankBits - 1
)

func rankOf(quiet time.Duration) rank {
	ms := uint64(max(quiet.Milliseconds(), 1))
	doublings := bits.Len64(ms) - 1
	if doublings > mostDoublings {
		return 0
	}
	within := ms << rankBits >> doublings & (1<<rankBits - 1)
	return rank(ranks - 1 - (uint64(doublings)<<rankBits | within))
}

// clear the line: nothing is released.
func (l *spareLine) clear() { l.unsorted, l.sorted, l.next = l.unsorted[:0], l.sorted[:0], 0 }

func (l *spareLine) add(at int, quiet time.Duration) {
	l.unsorted = append(l.unsorted, sparePage{uint32(at), rankOf(quiet)})
}

// sort what was added, by rank, and within one in the order of adding.
func (l *spareLine) sort() {
	var place [ranks + 1]int
	for _, p := range l.unsorted {
		place[int(p.rank)+1]++
	}
	for r := 1; r < len(place); r++ {
		place[r] += place[r-1]
	}
	if cap(l.sorted) < len(l.unsorted) {
		l.sorted = make([]sparePage, len(l.unsorted), cap(l.unsorted))
	}
	l.sorted = l.sorted[:len(l.unsorted)]
	for _, p := range l.unsorted {
		l.sorted[place[p.rank]] = p
		place[p.rank]++
	}
}

func (l *spareLine) len() int { return len(l.sorted) - l.next }

// before tells whether its first page is to leave before the other line's.
func (l *spareLine) before(other *spareLine) bool {
	return l.len() > 0 && (other.len() == 0 || l.sorted[l.next].rank < other.sorted[other.next].rank)
}

func (s *spare) lines() (all []*spareLine) {
	all = append(all, &s.anyone)
	for i := range s.own {
		all = append(all, &s.own[i])
	}
	return all
}

func (s *spare) clear() {
	for _, l := range s.lines() {
		l.clear()
	}
}

func (s *spare) sort() {
	for _, l := range s.lines() {
		l.sort()
	}
}

// some tells whether there are any.
func (s *spare) some() bool {
	for i := range s.own {
		if s.own[i].len() > 0 {
			return true
		}
	}
	return s.anyone.len() > 0
}

// of a connection: the line whose first page leaves next.
func (s *spare) of(connection int) *spareLine {
	if connection < len(s.own) && s.own[connection].before(&s.anyone) {
		return &s.own[connection]
	}
	return &s.anyone
}

// release a held page: at once, or when the link has nothing else to do.
func (t *Table[Tag]) release(at int, now time.Duration) {
	if !t.traits.QuietestFirst {
		t.enqueue(at)
		return
	}
	l := &t.spare.anyone
	if connection, is := t.connectionOf(at); is {
		l = &t.spare.own[connection]
	}
	l.add(at, policy.UntilWrite(t.entries[at].history, now))
}

// letSomeGo of the spare pages where a connection has nothing else: its own or anyone's,
// or another connection's where there are many of those.
func (t *Table[Tag]) letSomeGo(connection int) {
	if t.queue.of(connection) > 0 {
		return
	}
	for t.queue.of(connection) < BatchContents && t.letOneGo(t.spare.of(connection)) {
	}
	if t.queue.of(connection) > 0 {
		return
	}
	for i := range t.spare.own {
		for l := &t.spare.own[i]; l.len()+len(t.queue.own[i]) >= stealFrom && len(t.queue.own[i]) < stealFrom; {
			t.letOneGo(l)
		}
	}
}

// letOneGo of a line, if it still waits and has not been written since; false: there is
// none left.
func (t *Table[Tag]) letOneGo(l *spareLine) bool {
	if l.len() == 0 {
		return false
	}
	at := int(l.sorted[l.next].at)
	l.next++
	if e := &t.entries[at]; e.state == held && e.history.LastPass < t.pass {
		t.enqueue(at)
	}
	return true
}

// Waits tells whether there is anything for a sender: something is queued, or was
// released to a link that has nothing else to do.
func (t *Table[Tag]) Waits() bool { return t.queue.length > 0 || t.spare.some() }
