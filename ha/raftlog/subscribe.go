package raftlog

import (
	"sync"

	"bumpless/ha/core"
)

// Update is one thing that a subscriber is told, in order. Exactly one field
// is set.
type Update struct {
	State *core.State
	// Leader tells a change of this host's leadership.
	Leader *Leadership
}

// Leadership of this host. Leads comes after a barrier: all states made by
// former leaders have been delivered before.
type Leadership struct {
	Leads bool
	Term  uint64 // of the log, 0 when Leads is false
}

// hub fans updates out. States that a slow subscriber has not taken yet are
// replaced by newer ones; a loss of leadership is never swallowed by a gain.
type hub struct {
	mu     sync.Mutex
	closed bool
	last   core.State
	leads  Leadership
	subs   map[*mailbox]bool
}

// mailbox is bounded by its merging rules: at most a loss, a gain and a state
// between each.
type mailbox struct {
	pending []Update
	wake    chan struct{}
	gone    chan struct{}
	out     chan Update
}

func newHub() *hub { return &hub{subs: map[*mailbox]bool{}, last: core.NewState()} }

// Subscribe delivers the present state, the present leadership, and from then
// on every change. The channel is closed by cancel and by Log.Close.
func (l *Log) Subscribe() (updates <-chan Update, cancel func()) { return l.hub.subscribe() }

func (h *hub) subscribe() (<-chan Update, func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, leads := h.last, h.leads
	m := &mailbox{wake: make(chan struct{}, 1), gone: make(chan struct{}), out: make(chan Update),
		pending: []Update{{State: &last}, {Leader: &leads}}}
	if h.closed {
		close(m.out)
		return m.out, func() {}
	}
	h.subs[m] = true
	m.wake <- struct{}{}
	go h.pump(m)
	return m.out, sync.OnceFunc(func() { h.drop(m) })
}

func (h *hub) drop(m *mailbox) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs[m] {
		delete(h.subs, m)
		close(m.gone)
	}
}

func (h *hub) pump(m *mailbox) {
	defer close(m.out)
	for {
		select {
		case <-m.gone:
			return
		case <-m.wake:
		}
		for u, ok := h.next(m); ok; u, ok = h.next(m) {
			select {
			case <-m.gone:
				return
			case m.out <- u:
			}
		}
	}
}

func (h *hub) next(m *mailbox) (Update, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(m.pending) == 0 {
		return Update{}, false
	}
	u := m.pending[0]
	m.pending = m.pending[1:]
	return u, true
}

func (h *hub) state(s core.State) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = s
	for m := range h.subs {
		if n := len(m.pending); n > 0 && m.pending[n-1].State != nil {
			m.pending[n-1] = Update{State: &s}
		} else {
			m.pending = append(m.pending, Update{State: &s})
		}
		m.poke()
	}
}

func (h *hub) leader(leads Leadership) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leads = leads
	for m := range h.subs {
		if !leads.Leads {
			m.forgetLeadership()
		}
		m.pending = append(m.pending, Update{Leader: &leads})
		m.poke()
	}
}

// forgetLeadership drops gains and losses not yet taken: a loss follows, which
// says it all.
func (m *mailbox) forgetLeadership() {
	var kept []Update
	for _, u := range m.pending {
		if u.State != nil {
			kept = append(kept, u)
		}
	}
	if len(kept) > 1 {
		kept = kept[len(kept)-1:] // only the newest state matters
	}
	m.pending = kept
}

func (m *mailbox) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for m := range h.subs {
		delete(h.subs, m)
		close(m.gone)
	}
}
