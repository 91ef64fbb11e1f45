package sim

import (
	"time"

	"bumpless/ha/core"
)

// replicated is the log: linearizable, with terms. An entry is pending from
// the moment a leader takes it until a quorum has it; when the leader changes
// meanwhile, a prefix of what is pending is kept and the rest is lost, and the
// proposer never learns which.
type replicated struct {
	w       *World
	states  []core.State // after each committed entry; states[0] is empty
	term    uint64       // the newest
	leader  *host        // of that term; nil when it is gone
	ready   bool
	pending []*entry
	stalled time.Duration // true time until which disks do not take entries
	without time.Duration // true time since which there is no leader with a quorum
}

type entry struct {
	term    uint64
	command core.Command
	at      *host
	answer  func(core.Result) // nil when nobody waits
}

// raft is what one host knows of the log.
type raft struct {
	term    uint64
	leads   uint64 // the term in which it leads after the barrier, by its own belief
	leader  string // as far as it knows
	applied int
	oust    bool // it is being told that it does not lead
}

func (l *replicated) init(w *World) { l.w, l.states = w, []core.State{core.NewState()} }

func (l *replicated) state() core.State { return l.states[len(l.states)-1] }

func (h *host) up() bool { return h.on && h.d != nil && !h.d.frozen }

// quorum: h and those it can talk with are a majority.
func (l *replicated) quorum(h *host) (voters []*host) {
	if !h.up() {
		return nil
	}
	for _, o := range l.w.hosts {
		if o == h || o.up() && l.w.net.linked(h, o) {
			voters = append(voters, o)
		}
	}
	if len(voters)*2 <= len(l.w.hosts) {
		return nil
	}
	return voters
}

// heartbeat keeps followers up to date, deposes and elects.
func (l *replicated) heartbeat() {
	w := l.w
	for _, h := range w.hosts {
		l.depose(h)
	}
	if l.leader != nil && l.quorum(l.leader) == nil && w.now-l.without > w.between(500*time.Millisecond, time.Second) {
		w.say(l.leader.name, "has lost its quorum")
		l.leader = nil
	}
	if l.leader != nil && l.quorum(l.leader) != nil {
		l.without = w.now
		l.commit()
		for _, h := range w.hosts {
			l.catchUp(h)
		}
		return
	}
	eager := 0.15 // chance of trying in these 100 ms; under faults elections take longer
	if w.Script != nil {
		eager = 0.5
	}
	if l.leader == nil && w.chance(eager) {
		candidate := pick(w, w.hosts)
		if voters := l.quorum(candidate); voters != nil {
			l.elect(candidate, voters)
		}
	}
}

// depose tells a host that believes to lead, and does not, sooner or later:
// at once when it hears of the new term, after a while without a quorum.
func (l *replicated) depose(h *host) {
	if h.raft.leads == 0 || h.raft.leads == l.term && l.leader == h || h.raft.oust || h.d == nil {
		return
	}
	h.raft.oust = true
	d, term := h.d, h.raft.leads
	d.after(l.w.often(300*time.Millisecond, 20*time.Second), func() {
		h.raft.oust = false
		if h.raft.leads == term {
			h.raft.leads, h.raft.leader = 0, ""
			d.post(core.LeadershipChanged{})
		}
	})
}

func (l *replicated) elect(h *host, voters []*host) {
	w := l.w
	l.term++
	l.leader, l.ready, l.without = h, false, w.now
	w.Stats.Elections++
	for _, v := range voters {
		v.raft.term = l.term
	}
	w.say(h.name, "elected in term %d by %d", l.term, len(voters))
	keep := w.rng.IntN(len(l.pending) + 1)
	for i, e := range l.pending {
		if i < keep || e.at == h {
			l.apply(e)
		} else {
			w.say(h.name, "an entry of term %d is lost: %s", e.term, describe(e.command))
		}
	}
	l.pending = nil
	l.becomeReady(h, h.d, l.term)
}

// becomeReady announces leadership after a barrier that a quorum has.
func (l *replicated) becomeReady(h *host, d *daemon, term uint64) {
	d.after(l.w.often(50*time.Millisecond, time.Second), func() {
		if l.leader != h || l.term != term {
			return
		}
		if l.quorum(h) == nil {
			l.becomeReady(h, d, term)
			return
		}
		l.ready, h.raft.leads, h.raft.leader = true, term, h.name
		l.deliver(h)
		d.post(core.LeadershipChanged{Leader: true, Term: term})
		d.registerSite()
	})
}

// drop forgets a daemon that ended: a leader is gone, its answers too.
func (l *replicated) drop(h *host) {
	if l.leader == h {
		l.leader = nil
	}
	for _, e := range l.pending {
		if e.at == h {
			e.answer = nil
		}
	}
}

// propose enters a command at h, as raftlog.Propose does; false when it
// certainly did not enter.
func (l *replicated) propose(h *host, c core.Command, answer func(core.Result)) bool {
	if h.raft.leads == 0 {
		return false
	}
	if h.raft.leads != l.term || l.leader != h && l.leader != nil {
		l.w.say(h.name, "a deposed leader takes %s: it is lost", describe(c))
		return true
	}
	if c.HostGone != nil {
		l.w.comeBack(l.w.host(c.HostGone.Host))
	}
	l.pending = append(l.pending, &entry{term: h.raft.leads, command: c, at: h, answer: answer})
	if !l.w.calm && l.w.Script == nil && l.w.chance(0.02) {
		l.stalled = l.w.now + l.w.between(0, 5*time.Second) // leading, and granting leases, goes on
	}
	l.w.after(l.w.often(20*time.Millisecond, 2*time.Second), l.commit)
	return true
}

// commit applies what is pending, if a quorum has it.
func (l *replicated) commit() {
	if l.leader == nil || !l.ready || l.quorum(l.leader) == nil || l.w.now < l.stalled {
		return
	}
	for len(l.pending) > 0 {
		e := l.pending[0]
		l.pending = l.pending[1:]
		l.apply(e)
	}
	l.deliver(l.leader)
	for _, h := range l.w.hosts {
		if h != l.leader {
			l.w.after(l.w.often(20*time.Millisecond, 2*time.Second), func() { l.catchUp(h) })
		}
	}
}

func (l *replicated) apply(e *entry) {
	next, result := core.ApplyEntry(l.state(), e.command, e.term)
	verdict := "ok"
	if !result.OK() {
		verdict = "REFUSED (" + string(result.Code) + "): " + result.Text
	}
	l.w.say("=", "%d: %s: %s", next.Index, describe(e.command), verdict)
	before := l.state()
	l.states = append(l.states, next)
	l.w.check.applied(before, next, e.command)
	if result.OK() {
		l.w.tempt(0.03, l.w.hosts...)
	}
	if e.command.Assign != nil && result.OK() {
		l.w.tempt(0.05, l.w.host(e.command.Assign.To))
	}
	if e.answer != nil && e.at.d != nil {
		e.at.d.after(time.Millisecond, func() { e.answer(result) })
	}
}

// catchUp brings the log to a follower that the leader can talk with.
func (l *replicated) catchUp(h *host) {
	if l.leader == nil || h == l.leader || !h.up() || !l.leader.up() || !l.w.net.linked(h, l.leader) {
		return
	}
	if h.raft.term < l.term {
		h.raft.term = l.term
	}
	h.raft.leader = l.leader.name
	if l.ready {
		l.deliver(h)
	}
}

func (l *replicated) deliver(h *host) {
	if n := len(l.states) - 1; h.d != nil && h.raft.applied < n {
		h.raft.applied = n
		h.d.post(core.StateChanged{State: l.states[n]})
	}
}

// restart is what a new daemon finds on disk: perhaps less than the former one
// had applied, until a leader tells it what is committed.
func (l *replicated) restart(h *host) {
	h.raft.leads, h.raft.leader, h.raft.oust = 0, "", false
	h.raft.applied = max(0, h.raft.applied-l.w.rng.IntN(20))
	h.d.post(core.StateChanged{State: l.states[h.raft.applied]})
	h.d.post(core.LeadershipChanged{})
}

// confirm is raftlog.Confirm: a quorum is asked whether it is still in the
// leader's term, and every answer is given after the call.
func (l *replicated) confirm(d *daemon, done func(index uint64)) {
	h, term := d.h, d.h.raft.leads
	if term == 0 || h.raft.term != term {
		return
	}
	agree, finished := 1, false
	voted := map[string]bool{}
	if l.w.Break == NoQuorumLease {
		agree = len(l.w.hosts)
	}
	count := func() {
		if finished || agree*2 <= len(l.w.hosts) {
			return
		}
		finished = true
		if h.raft.leads == term && h.raft.term == term {
			done(l.states[h.raft.applied].Index)
		}
	}
	for _, o := range l.w.hosts {
		if o == h {
			continue
		}
		l.w.net.call(d, o, func(there *daemon, answer func(func())) {
			its := there.h.raft.term
			answer(func() {
				if its == term && !voted[o.name] {
					voted[o.name] = true
					agree++
					count()
				}
			})
		})
	}
	count()
}
