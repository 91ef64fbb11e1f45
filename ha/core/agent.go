package core

import (
	"maps"
	"time"
)

// Config of one host's Agent.
type Config struct {
	Self   string
	Role   Role
	Timing Timing
	// Fences: the site has fence devices, so that Fence actions lead to a FenceResult.
	Fences bool
}

// Agent is one host's local view and timing. It is a value: Step returns a
// new one and leaves the old as it was. A restarted daemon begins with New.
type Agent struct {
	cfg   Config
	born  time.Duration
	state State

	lease  leaseView
	local  localView
	leader leaderView

	// sent is when each action was last given out, by key, for repeating it
	// after a while and not on every step.
	sent map[string]time.Duration
}

// leaseView is this host's right to run guests.
type leaseView struct {
	until   time.Duration // the lease holds while now < until
	lastAsk time.Duration
	nextAsk time.Duration
	asked   bool
	granted bool // at least once since this daemon began
	// bootIndex is State.Index of the first grant: what the log decided up to
	// there may have been acted upon by a former daemon of this host.
	bootIndex uint64
	// needIndex is the highest State.Index of a grant: nothing is started
	// before this host has applied that much of the log.
	needIndex uint64
	// lapsed: the lease was lost while copies were alive. All of them are
	// killed, and a new lease changes nothing before the last one is dead.
	lapsed bool
}

// localView is what happens to copies on this host.
type localView struct {
	seen     bool // the first GuestsObserved has come
	seenAt   time.Duration
	copies   []Observed
	starting map[string]start  // by guest: a process may exist or be about to
	used     map[string]uint64 // by guest: highest epoch started here or promised not to be
	// ran is, by guest, the highest epoch seen running here, whether or not
	// this host knew of its move then. A source's memory is out of date once
	// the destination ran, whatever becomes of that copy.
	ran      map[string]uint64
	tries    map[string]tries // by guest: starts in a row
	gates    map[string]gate  // by move: this daemon's gateways
	moveSeen map[string]time.Duration
}

type start struct {
	epoch    uint64
	answered bool
	at       time.Duration // of the answer
}

type tries struct {
	count int
	last  time.Duration
}

// gate is a gateway that this daemon runs or ran for a move.
type gate struct {
	started   bool
	addresses []string
	ended     bool
	endedAt   time.Duration
	result    MoveResult
}

// leaderView is what the leader knows; it is empty on other hosts.
type leaderView struct {
	leads     bool
	term      uint64
	since     time.Duration
	lastGrant map[string]time.Duration
	// pendingGone holds, for each host, a HostGone whose fate is open.
	// Meanwhile the host gets no lease: it could start something that the
	// proof does not cover.
	pendingGone map[string]HostGone
	moveEnded   map[string]time.Duration // when this leader saw a move finished
}

// New returns the Agent of a daemon that begins at now.
func New(cfg Config, now time.Duration) Agent {
	return Agent{
		cfg:   cfg,
		born:  now,
		state: NewState(),
		local: localView{
			seen:     cfg.Role == Witness,
			starting: map[string]start{},
			used:     map[string]uint64{},
			ran:      map[string]uint64{},
			tries:    map[string]tries{},
			gates:    map[string]gate{},
			moveSeen: map[string]time.Duration{},
		},
		leader: newLeaderView(),
		sent:   map[string]time.Duration{},
	}
}

func newLeaderView() leaderView {
	return leaderView{
		lastGrant:   map[string]time.Duration{},
		pendingGone: map[string]HostGone{},
		moveEnded:   map[string]time.Duration{},
	}
}

func (a Agent) clone() Agent {
	a.local.starting = maps.Clone(a.local.starting)
	a.local.used = maps.Clone(a.local.used)
	a.local.ran = maps.Clone(a.local.ran)
	a.local.tries = maps.Clone(a.local.tries)
	a.local.gates = maps.Clone(a.local.gates)
	a.local.moveSeen = maps.Clone(a.local.moveSeen)
	a.leader.lastGrant = maps.Clone(a.leader.lastGrant)
	a.leader.pendingGone = maps.Clone(a.leader.pendingGone)
	a.leader.moveEnded = maps.Clone(a.leader.moveEnded)
	a.sent = maps.Clone(a.sent)
	return a
}

// View is what an Agent shows to people.
type View struct {
	Host   string `json:"host"`
	Leader bool   `json:"leader"`
	// Leased: this host may run guests, for LeaseLeft more.
	Leased    bool          `json:"leased"`
	LeaseLeft time.Duration `json:"lease_left_ns"`
	// Lapsed: the lease was lost and copies are still being killed.
	Lapsed bool `json:"lapsed"`
	// Withheld says why the watchdog is not petted; "" when it is.
	Withheld string     `json:"withheld,omitempty"`
	Copies   []Observed `json:"copies"`
	// Silence (on the leader) is how long ago each server was granted a
	// lease, counted from the election where there was none.
	Silence map[string]time.Duration `json:"silence_ns,omitempty"`
	// Index of the state that this agent acts upon, and the one that it needs.
	Index, NeedIndex uint64
}

// View returns what is known at now.
func (a Agent) View(now time.Duration) View {
	v := View{Host: a.cfg.Self, Leader: a.leader.leads, Leased: a.leased(now), Lapsed: a.lease.lapsed,
		Copies: append([]Observed(nil), a.local.copies...), Index: a.state.Index, NeedIndex: a.lease.needIndex}
	if v.Leased {
		v.LeaseLeft = a.lease.until - now
	}
	if _, why := a.mayPet(now); why != "" {
		v.Withheld = why
	}
	if a.leader.leads {
		v.Silence = map[string]time.Duration{}
		for name, h := range a.state.Hosts {
			if h.Role == Server {
				v.Silence[name] = a.silence(now, name)
			}
		}
	}
	return v
}

// State returns the state that the agent acts upon.
func (a Agent) State() State { return a.state }

// leased tells whether this host may run guests at now.
func (a Agent) leased(now time.Duration) bool { return a.lease.granted && now < a.lease.until }

// caughtUp: this host knows at least what the leader knew when it granted.
func (a Agent) caughtUp() bool { return a.lease.granted && a.state.Index >= a.lease.needIndex }

// mayStart: a copy may be created here at now. What is begun at the very end of
// a lease would only be killed.
func (a Agent) mayStart(now time.Duration) bool {
	return a.leased(now+a.cfg.Timing.PetInterval) && !a.lease.lapsed && a.caughtUp() && a.local.seen
}

// alive: a copy exists on this host, or may exist.
func (a Agent) alive() bool {
	return !a.local.seen || len(a.local.copies) > 0 || len(a.local.starting) > 0
}

// observed returns the copy of a guest with that epoch.
func (a Agent) observed(guest string, epoch uint64) (Observed, bool) {
	for _, c := range a.local.copies {
		if c.Guest == guest && c.Epoch == epoch {
			return c, true
		}
	}
	return Observed{}, false
}

// anyCopy: some process of the guest exists here, or may exist.
func (a Agent) anyCopy(guest string) bool {
	if _, starting := a.local.starting[guest]; starting {
		return true
	}
	for _, c := range a.local.copies {
		if c.Guest == guest {
			return true
		}
	}
	return false
}

// gateLive: a gateway of the move, begun by this daemon, has not ended.
func (a Agent) gateLive(move string) bool {
	g, ok := a.local.gates[move]
	return ok && g.started && !g.ended
}

// burn notes that an epoch is used up on this host.
func (a *Agent) burn(guest string, epoch uint64) {
	a.local.used[guest] = max(a.local.used[guest], epoch)
}

func (a Agent) order() Order { return Order{Name: a.cfg.Self, Role: RoleHost} }
