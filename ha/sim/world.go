package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"bumpless/ha/core"
)

// Options of a run. The zero values of Servers, Faults and Timing take defaults.
type Options struct {
	Seed uint64
	// Servers is 2 (and a witness) or 3.
	Servers int
	// Faults is how long faults go on.
	Faults time.Duration
	Timing core.Timing
	// Fences: the site has fence devices.
	Fences bool
	// Break is a rule broken on purpose, to prove that the checkers see it.
	Break Breakage
	// Script replaces the seed's faults and orders.
	Script func(*World)
	// Trace is given each line of the transcript; nil for none.
	Trace func(line string)
}

// Breakage is a rule that a run breaks on purpose.
type Breakage string

// Breakages. Each is something that a plausible bug would do.
const (
	SlowWatchdog  Breakage = "the hardware takes three times as long as the site file says"
	SelfResume    Breakage = "a restarted daemon lets every paused guest run on"
	PetsAlways    Breakage = "the watchdog is petted whatever core says"
	LiesAboutDead Breakage = "a copy that does not die is not seen any more"
	ForgetsMarker Breakage = "the commit marker is not made"
	OpeningPets   Breakage = "a daemon pets the watchdog by closing and opening it"
	NoQuorumLease Breakage = "leases are granted without asking a quorum"
	KillsTheDeaf  Breakage = "a copy whose monitor does not answer is killed"
)

// Timing used by default: the product's own inequalities, with shorter waits
// for retries so that a run shows more of them.
func defaultTiming(r *rand.Rand) core.Timing {
	t := core.DefaultTiming()
	t.PrepareTimeout = []time.Duration{200 * time.Millisecond, 5 * time.Second}[r.IntN(2)] // the short one runs out in the middle of things
	t.RetryMin, t.RetryMax = time.Second, 8*time.Second
	t.DriftPPM = []int{0, 500, 20_000, 100_000}[r.IntN(4)]
	t.LeaderLease = []time.Duration{0, time.Second}[r.IntN(2)] // a reserve, not a need
	return t
}

// World is one run.
type World struct {
	Options
	rng   *rand.Rand
	now   time.Duration
	queue queue
	count uint64

	hosts  []*host
	net    network
	log    replicated
	check  checker
	calm   bool // faults have ended
	daemon int  // number of the newest daemon
	Stats  Stats
}

// Stats counts what a run really did, so that a test can tell that the faults
// came and that the cluster worked between them.
type Stats struct {
	Steps, Starts, Moves, RolledBack, Refused, Failed, InDoubt, Takeovers, Resets, Faults, Elections int
}

// New builds the cluster, powered on at true time 0.
func New(o Options) *World {
	w := &World{Options: o, rng: rand.New(rand.NewPCG(o.Seed, 0x6275_6d70_6c65_7373))}
	if w.Servers == 0 {
		w.Servers = 2 + w.rng.IntN(2)
	}
	if w.Faults == 0 {
		w.Faults = 50 * time.Second
	}
	if w.Timing == (core.Timing{}) {
		w.Timing = defaultTiming(w.rng)
	}
	w.net.init(w)
	w.log.init(w)
	w.check.init(w)
	for i := range 3 {
		h := &host{w: w, name: string(rune('a' + i)), role: core.Server}
		if i >= w.Servers {
			h.name, h.role = "w", core.Witness
		}
		w.hosts = append(w.hosts, h)
	}
	for _, h := range w.hosts {
		w.after(w.between(0, time.Second), h.powerOn)
	}
	w.every(100*time.Millisecond, w.log.heartbeat)
	w.every(100*time.Millisecond, w.check.regular)
	return w
}

// Run drives the world to the end of its rest, or to the first violation.
func (w *World) Run() error {
	if w.Script != nil {
		w.Script(w)
	} else {
		w.after(3*time.Second, w.trouble)
		w.after(3*time.Second, w.operate)
	}
	w.after(w.Faults, w.heal)
	for len(w.queue) > 0 && w.check.violation == nil && !w.check.done {
		next := heap.Pop(&w.queue).(*timer)
		w.now = next.at
		next.do()
	}
	return w.check.violation
}

// after runs do when d has passed, in true time.
func (w *World) after(d time.Duration, do func()) {
	w.count++
	heap.Push(&w.queue, &timer{at: w.now + d, order: w.count, do: do})
}

func (w *World) every(d time.Duration, do func()) {
	w.after(d, func() { do(); w.every(d, do) })
}

func (w *World) say(host, format string, args ...any) {
	if w.Trace != nil {
		w.Trace(fmt.Sprintf("%9.4f %-2s %s", w.now.Seconds(), host, fmt.Sprintf(format, args...)))
	}
}

func (w *World) chance(p float64) bool { return w.rng.Float64() < p }

func (w *World) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Float64()*float64(to-from))
}

// often is mostly the short time and now and then up to the long one.
func (w *World) often(short, long time.Duration) time.Duration {
	if !w.calm && w.chance(0.03) {
		return w.between(short, long)
	}
	return w.between(short/10, short)
}

func (w *World) host(name string) *host {
	for _, h := range w.hosts {
		if h.name == name {
			return h
		}
	}
	return nil
}

func pick[T any](w *World, list []T) T { return list[w.rng.IntN(len(list))] }

type timer struct {
	at    time.Duration
	order uint64 // of equal times the one that was set first
	do    func()
}

type queue []*timer

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(t any)   { *q = append(*q, t.(*timer)) }
func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	*q = old[:len(old)-1]
	return t
}

func (s *Stats) add(o Stats) {
	s.Steps += o.Steps
	s.Starts += o.Starts
	s.Moves += o.Moves
	s.RolledBack += o.RolledBack
	s.Refused += o.Refused
	s.Failed += o.Failed
	s.InDoubt += o.InDoubt
	s.Takeovers += o.Takeovers
	s.Resets += o.Resets
	s.Faults += o.Faults
	s.Elections += o.Elections
}
