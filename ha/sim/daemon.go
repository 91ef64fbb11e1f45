package sim

import (
	"fmt"
	"strconv"
	"time"

	"bumpless/ha/core"
)

// daemon is one life of appliance/node on a host. While it is frozen nothing
// of it runs; what comes meanwhile is done when it thaws.
type daemon struct {
	h      *host
	id     int
	agent  core.Agent
	frozen bool
	held   []func()
	saw    map[copyID]bool // running, for the checker
	awake  time.Duration   // true time since which it has not been frozen

	events []core.Event
	busy   bool            // a run of the loop is due
	jobs   map[string]bool // in flight, by key
	desk   map[string]func(granted bool, index uint64)
	gates  map[string]*gateway
	asked  map[time.Duration]time.Duration // own clock -> true time of lease requests
	order  petOrder
	looks  bool // an observation is under way
	again  []func()
}

type petOrder struct {
	pet      bool
	notAfter time.Duration
	at       time.Duration
}

func newDaemon(h *host, id int) *daemon {
	return &daemon{h: h, id: id, awake: h.w.now, saw: map[copyID]bool{}, jobs: map[string]bool{}, desk: map[string]func(bool, uint64){}, gates: map[string]*gateway{},
		asked: map[time.Duration]time.Duration{},
		agent: core.New(core.Config{Self: h.name, Role: h.role, Timing: h.w.Timing, Fences: h.w.Fences}, h.clock())}
}

// run does something in this daemon: never after its end, and not while frozen.
func (d *daemon) run(do func()) {
	switch {
	case d.h.d != d:
	case d.frozen:
		d.held = append(d.held, do)
	default:
		do()
	}
}

func (d *daemon) after(t time.Duration, do func()) { d.h.w.after(t, func() { d.run(do) }) }

func (d *daemon) thaw() {
	if d.h.d != d || !d.frozen {
		return
	}
	d.h.w.say(d.h.name, "daemon %d thaws", d.id)
	d.frozen, d.awake = false, d.h.w.now
	held := d.held
	d.held = nil
	for _, do := range held {
		d.run(do)
	}
}

// begin starts the daemon's goroutines.
func (d *daemon) begin() {
	d.h.w.log.restart(d.h)
	d.ticking()
	if d.h.role == core.Server {
		d.observing()
	}
	if d.h.w.Break == SelfResume {
		for _, p := range d.h.procs {
			d.after(time.Second, p.run)
		}
	}
}

func (d *daemon) ticking() {
	d.post(core.Tick{})
	d.after(d.h.trueTime(d.h.w.Timing.PetInterval/2), d.ticking)
}

func (d *daemon) observing() {
	d.observe(func() {})
	d.after(d.h.trueTime(d.h.w.Timing.Lease/8), d.observing)
}

// post hands an event to the loop, which takes events in order.
func (d *daemon) post(e core.Event) {
	d.events = append(d.events, e)
	if !d.busy {
		d.busy = true
		d.after(d.h.w.often(time.Millisecond, 20*time.Millisecond), d.loop)
	}
}

func (d *daemon) loop() {
	d.busy = false
	for len(d.events) > 0 && d.h.d == d {
		e := d.events[0]
		d.events = d.events[1:]
		d.step(e)
	}
}

func (d *daemon) step(e core.Event) {
	d.h.w.Stats.Steps++
	d.learn(e)
	if r, ok := e.(core.LeaseReply); ok && r.Granted {
		d.h.w.check.leased(d.h, d.asked[r.AskedAt])
	}
	next, actions := core.Step(d.agent, d.h.clock(), e)
	d.agent = next
	d.tell("<", e)
	for _, a := range actions {
		d.tell(">", a)
		d.do(a)
	}
}

// learn keeps for the checker which copies this daemon has seen running.
func (d *daemon) learn(e core.Event) {
	if o, ok := e.(core.GuestsObserved); ok {
		for _, c := range o.Copies {
			if c.Status == core.Running {
				d.saw[copyID{c.Guest, c.Epoch}] = true
			}
		}
	}
}

// observe looks at the processes once: first which there are, then at each of
// them. Observations do not overlap.
func (d *daemon) observe(then func()) {
	if d.looks {
		d.again = append(d.again, func() { d.observe(then) })
		return
	}
	d.looks = true
	asked := d.h.clock()
	w := d.h.w
	d.after(w.often(2*time.Millisecond, 50*time.Millisecond), func() {
		var found []*proc
		for _, p := range d.h.procs {
			if !p.hidden {
				found = append(found, p)
			}
		}
		d.after(w.often(2*time.Millisecond, time.Second), func() {
			var copies []core.Observed
			for _, p := range found {
				if p.look() == core.Unclear && d.h.w.Break == KillsTheDeaf {
					d.h.kill(p.guest, p.epoch)
				}
				copies = append(copies, core.Observed{Guest: p.guest, Epoch: p.epoch, Status: p.look(), PID: 1})
			}
			d.post(core.GuestsObserved{Asked: asked, Copies: copies})
			d.looks = false
			next := d.again
			d.again = nil
			for _, do := range next {
				do()
			}
			then()
		})
	})
}

// job runs at most one thing for each key; its end must be told.
func (d *daemon) job(key string, do func(end func())) {
	if d.jobs[key] {
		return
	}
	d.jobs[key] = true
	d.after(d.h.w.often(3*time.Millisecond, 300*time.Millisecond), func() { do(func() { delete(d.jobs, key) }) })
}

// do carries out one action as appliance/node does.
func (d *daemon) do(a core.Action) {
	key := a.Key()
	switch a := a.(type) {
	case core.PetWatchdog:
		d.pet(petOrder{pet: true, notAfter: a.NotAfter, at: d.h.clock()})
	case core.WithholdWatchdog:
		d.pet(petOrder{pet: d.h.w.Break == PetsAlways, at: d.h.clock()})
	case core.AskLease:
		d.asked[a.AskedAt] = d.h.w.now
		d.job(key, func(end func()) { d.askLease(a, end) })
	case core.GrantLease:
		d.answerLease(a.Host, a.AskedAt, true, a.Index)
	case core.RefuseLease:
		d.answerLease(a.Host, a.AskedAt, false, 0)
	case core.StartGuest:
		d.job(key, func(end func()) { d.start(a.Guest, a.Epoch, a.NotAfter, false, func(string) { end() }) })
	case core.KillGuest:
		d.job(key, func(end func()) {
			d.h.kill(a.Guest, a.Epoch)
			end()
			d.observe(func() {})
		})
	case core.ResumeSource:
		d.job(key, func(end func()) { d.resume(a, end) })
	case core.PrepareIncoming:
		d.job(key, func(end func()) { d.prepare(a, end) })
	case core.ExpectMove:
		// Its gateway waits, and has no part in the move yet.
	case core.RunMove:
		d.job(key, func(end func()) { d.runMove(a, end) })
	case core.AllowStop:
		if g := d.gates[a.Move]; g != nil {
			g.later(time.Millisecond, g.stop)
		}
	case core.AbortMove:
		d.job(key, func(end func()) { d.abort(a, end) })
	case core.Propose:
		d.job(key, func(end func()) { d.propose(a, end) })
	case core.Fence:
		d.job(key, func(end func()) { d.fence(a, end) })
	default:
		panic(fmt.Sprintf("no executor for %T", a))
	}
}

// pet is the petting goroutine: the newest order counts, and the clock is
// looked at last (watchdog.Policy).
func (d *daemon) pet(o petOrder) {
	d.order = o
	d.after(d.h.w.often(time.Millisecond, d.h.w.Timing.WatchdogTimeout/2), func() {
		o, now := d.order, d.h.clock()
		if !o.pet || o.notAfter != 0 && now > o.notAfter || now-o.at > d.h.w.Timing.WatchdogTimeout/2 {
			return
		}
		d.h.pet()
	})
}

func deskKey(host string, askedAt time.Duration) string {
	return host + "/" + strconv.FormatInt(int64(askedAt), 10)
}

// askLease is the asker's side; a request without an answer is not reported.
func (d *daemon) askLease(a core.AskLease, end func()) {
	d.after(d.h.w.Timing.Lease/2, end)
	leader := d.h.w.host(d.h.raft.leader)
	if leader == nil {
		return
	}
	d.h.w.net.call(d, leader, func(there *daemon, answer func(func())) {
		there.serveLease(d.h.name, a.AskedAt, func(granted bool, index uint64) {
			answer(func() {
				d.post(core.LeaseReply{AskedAt: a.AskedAt, Granted: granted, Index: index})
			})
		})
	})
}

// serveLease is the leader's side.
func (d *daemon) serveLease(host string, askedAt time.Duration, answer func(bool, uint64)) {
	d.h.w.log.confirm(d, func(index uint64) {
		key := deskKey(host, askedAt)
		d.desk[key] = answer
		d.after(d.h.w.Timing.Lease/2, func() { delete(d.desk, key) })
		d.post(core.LeaseRequested{Host: host, AskedAt: askedAt, Verified: true, Index: index})
	})
}

func (d *daemon) answerLease(host string, askedAt time.Duration, granted bool, index uint64) {
	key := deskKey(host, askedAt)
	if answer := d.desk[key]; answer != nil {
		delete(d.desk, key)
		answer(granted, index)
	}
}

// start creates a copy, unless another process of the guest exists here.
func (d *daemon) start(guest string, epoch uint64, notAfter time.Duration, incoming bool, then func(err string)) {
	w := d.h.w
	answer := func(err string) {
		d.post(core.GuestStarted{Guest: guest, Epoch: epoch, Err: err})
		d.observe(func() {})
		then(err)
	}
	switch {
	case d.h.anyOf(guest):
		answer("another process exists here")
	case d.h.clock() > notAfter:
		answer("the lease ran out")
	case !w.calm && w.chance(0.05):
		answer("QEMU does not start")
	default:
		// From here on the process may come to be even if the daemon ends, but
		// not after the next one has looked: fork and exec take about 1 ms.
		boot := d.h.boots
		w.after(w.often(20*time.Millisecond, time.Second), func() {
			if d.h.d != nil && d.h.d != d || d.h.d == nil && w.chance(0.5) || d.h.boots != boot || !d.h.on {
				return
			}
			d.h.create(guest, epoch, incoming)
			d.after(w.often(50*time.Millisecond, 2*time.Second), func() { answer("") })
		})
	}
}

// resume is `migrate_cancel` and `cont`, again and again until it works or
// its time is over.
func (d *daemon) resume(a core.ResumeSource, end func()) {
	d.after(d.h.w.often(10*time.Millisecond, 5*time.Second), func() {
		if p := d.h.find(a.Guest, a.Epoch); p != nil && d.h.clock() <= a.NotAfter {
			p.run()
		}
		end()
		d.observe(func() {})
	})
}

// propose enters a command through the leader. Only a certain fate is reported.
func (d *daemon) propose(a core.Propose, end func()) {
	d.after(5*time.Second, end)
	d.enter(a.Command, a.LocalOnly, func(entered bool, r core.Result) {
		end()
		switch {
		case !entered:
			d.post(core.ProposalFailed{Key: a.ProposalKey})
		case !r.OK():
			d.post(core.ProposalFailed{Key: a.ProposalKey, Code: r.Code, Why: r.Text})
		}
	})
}

func (d *daemon) enter(c core.Command, localOnly bool, answer func(entered bool, r core.Result)) {
	l := &d.h.w.log
	leader := d.h.w.host(d.h.raft.leader)
	switch {
	case leader == d.h || localOnly:
		if !l.propose(d.h, c, func(r core.Result) { answer(true, r) }) {
			answer(false, core.Result{})
		}
	case leader == nil:
		answer(false, core.Result{})
	default:
		d.h.w.net.call(d, leader, func(there *daemon, back func(func())) {
			if !core.MayForward(l.states[there.h.raft.applied], d.h.name, c) {
				return // as an answer that tells nothing of the command's fate
			}
			there.enter(c, true, func(entered bool, r core.Result) { back(func() { answer(entered, r) }) })
		})
	}
}

// fence cuts a host off at its fence device, which may fail, may be slow, and
// may say that it failed though it did not.
func (d *daemon) fence(a core.Fence, end func()) {
	w, target := d.h.w, d.h.w.host(a.Host)
	d.after(w.between(50*time.Millisecond, time.Second), func() {
		if w.chance(0.7) && target.on {
			target.powerOff("fenced by " + d.h.name)
			w.after(w.between(time.Second, 10*time.Second), target.powerOn)
		}
		off := !target.on && w.chance(0.9)
		d.after(w.often(time.Second, 15*time.Second), func() {
			end()
			d.post(core.FenceResult{Host: a.Host, AskedAt: a.AskedAt, Off: off, Detail: "read back"})
		})
	})
}
