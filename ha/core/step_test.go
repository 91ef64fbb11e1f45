package core

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// bench steps one agent and keeps its answers.
type bench struct {
	*log
	agent   Agent
	actions []Action
}

func newBench(t testing.TB, l *log, self string) *bench {
	return &bench{log: l, agent: New(Config{Self: self, Role: Server, Timing: DefaultTiming(), Fences: true}, 0)}
}

func (b *bench) step(at time.Duration, e Event) []Action {
	b.agent, b.actions = Step(b.agent, at, e)
	return b.actions
}

// lease has the agent ask and be granted at that time, with the log so far.
func (b *bench) lease(at time.Duration) []Action {
	b.step(at, StateChanged{State: b.state})
	b.agent.lease.nextAsk = at
	b.step(at, Tick{})
	return b.step(at, LeaseReply{AskedAt: at, Granted: true, Index: b.state.Index})
}

func find[A Action](actions []Action) (found []A) {
	for _, a := range actions {
		if x, ok := a.(A); ok {
			found = append(found, x)
		}
	}
	return found
}

const s = time.Second

func TestStepLeavesTheOldAgentAsItWas(t *testing.T) {
	b := newBench(t, site(t).place("scada", "a"), "a")
	b.lease(1 * s)
	old := b.agent
	before := old.View(1 * s)
	sent := len(old.sent)
	b.step(2*s, GuestsObserved{Asked: 2 * s, Copies: []Observed{{Guest: "scada", Epoch: 1, Status: Running}}})
	b.step(2*s, LeadershipChanged{Leader: true, Term: 2})
	b.step(2*s, LeaseRequested{Host: "b", AskedAt: 7, Verified: true})
	b.step(5*s, Tick{})
	if after := old.View(1 * s); !reflect.DeepEqual(before, after) || len(old.sent) != sent || old.local.seen {
		t.Errorf("the old agent changed:\n%+v\n%+v", before, after)
	}
}

// What a gateway or QEMU says may be long, and need not be UTF-8. The log
// takes neither, and a move must end all the same.
func TestWhateverAGatewaySaysTheLogTakesTheCommand(t *testing.T) {
	for name, why := range map[string]string{
		"long": strings.Repeat("x", 5000), "cut inside a rune": strings.Repeat("ä", 5000), "no UTF-8": strings.Repeat("\xff", 5000),
	} {
		for _, side := range []string{"source", "doubtful source", "destination"} {
			t.Run(name+", "+side, func(t *testing.T) {
				l := site(t).place("scada", "a")
				b := newBench(t, l, map[string]string{"source": "a", "doubtful source": "a", "destination": "b"}[side])
				b.step(1*s, GuestsObserved{Asked: 1 * s})
				b.lease(1 * s)
				l.move("scada", "b")
				if side != "destination" {
					l.ready("scada")
					b.step(1*s, GuestsObserved{Asked: 1 * s, Copies: []Observed{{Guest: "scada", Epoch: 1, Status: Running}}})
				}
				b.step(1*s, StateChanged{State: l.state})
				if side == "destination" {
					b.step(1*s, GuestStarted{Guest: "scada", Epoch: 2, Err: "no"})
				}
				proposals := find[Propose](b.step(1*s, MoveResult{Move: "scada-2", Outcome: Failed, Committed: side == "doubtful source", Why: why}))
				if len(proposals) != 1 {
					t.Fatalf("%d proposals; want the end of the move", len(proposals))
				}
				raw, err := proposals[0].Command.Encode()
				if err != nil {
					t.Fatal(err)
				}
				c, err := DecodeCommand(raw)
				if err != nil {
					t.Fatal(err)
				}
				if r := Check(l.state, c); !r.OK() {
					t.Errorf("the log refuses %s: %s", proposals[0].ProposalKey, r.Text)
				}
			})
		}
	}
}

func TestTheProofOfAHostsEndFitsIntoTheLog(t *testing.T) {
	l := site(t).place("scada", "b")
	b := newBench(t, l, "a")
	b.step(1*s, StateChanged{State: l.state})
	b.step(1*s, LeadershipChanged{Leader: true, Term: 3})
	b.step(5*s, Tick{})
	gone := find[Propose](b.step(6*s, FenceResult{Host: "b", AskedAt: 5 * s, Off: true, Detail: strings.Repeat("\xff", 5000)}))
	if len(gone) != 1 {
		t.Fatalf("%d proposals; want one", len(gone))
	}
	if d := gone[0].Command.HostGone.Detail; len(d) > MaxText || !utf8.ValidString(d) {
		t.Errorf("the detail has %d bytes, UTF-8 %v", len(d), utf8.ValidString(d))
	}
}

// A fence may answer late: after the host was off, on again, and granted a lease.
func TestALateFenceAnswerIsJudgedByItsOwnQuestion(t *testing.T) {
	l := site(t).place("scada", "b")
	b := newBench(t, l, "a")
	b.step(1*s, StateChanged{State: l.state})
	b.step(1*s, LeadershipChanged{Leader: true, Term: 3})
	if asked := find[Fence](b.step(5*s, Tick{})); len(asked) != 1 || asked[0].AskedAt != 5*s {
		t.Fatalf("asked %+v; want one fence at 5 s", asked)
	}
	b.step(6*s, LeaseRequested{Host: "b", AskedAt: 1, Verified: true, Index: l.state.Index})
	if asked := find[Fence](b.step(10*s, Tick{})); len(asked) != 1 || asked[0].AskedAt != 10*s {
		t.Fatalf("asked %+v; want another fence at 10 s", asked)
	}
	if gone := find[Propose](b.step(11*s, FenceResult{Host: "b", AskedAt: 5 * s, Off: true})); len(gone) != 0 {
		t.Errorf("the answer to the first question counts, though the host was granted a lease since")
	}
	if gone := find[Propose](b.step(12*s, FenceResult{Host: "b", AskedAt: 10 * s, Off: true})); len(gone) != 1 || !gone[0].LocalOnly || gone[0].Command.Term != 3 {
		t.Errorf("the answer to the second question gives %+v; want HostGone bound to term 3", gone)
	}
}

// `cont` restarts a source even after COMMIT: no attempt may be open any more
// when the next move begins.
func TestNoMoveBeginsWhileAnAttemptToContinueMayBeOpen(t *testing.T) {
	l := site(t).place("scada", "a")
	b := newBench(t, l, "a")
	running := []Observed{{Guest: "scada", Epoch: 1, Status: Running}}
	b.step(1*s, GuestsObserved{Asked: 1 * s, Copies: running})
	b.lease(1 * s)
	l.move("scada", "b").ready("scada")
	b.step(1*s, StateChanged{State: l.state})
	resume := find[ResumeSource](b.step(2*s, MoveResult{Move: "scada-2", Outcome: Failed}))
	if len(resume) != 1 || resume[0].NotAfter > 3*s {
		t.Fatalf("continue %+v; want one that ends within a second", resume)
	}
	l.do(hostOrder("a"), Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: Failed}})
	l.move("scada", "b").ready("scada")
	b.step(2100*time.Millisecond, GuestsObserved{Asked: 2100 * time.Millisecond, Copies: running})
	if run := find[RunMove](b.step(2100*time.Millisecond, StateChanged{State: l.state})); len(run) != 0 {
		t.Errorf("the next move begins while the first attempt to continue may be open")
	}
	b.lease(2500 * time.Millisecond)
	run := find[RunMove](b.step(resume[0].NotAfter+1, Tick{}))
	if len(run) != 1 || run[0].Epoch != 1 {
		t.Errorf("afterwards it runs %+v; want the move on copy 1", run)
	}
}

// The end of a move that was proposed may be entered into the log at any time:
// a gateway that began afterwards could commit a move that the log has ended.
func TestASourceThatGaveUpAMoveNeverBeginsIt(t *testing.T) {
	l := site(t).place("scada", "a")
	b := newBench(t, l, "a")
	running := []Observed{{Guest: "scada", Epoch: 1, Status: Running}}
	b.step(1*s, GuestsObserved{Asked: 1 * s, Copies: running})
	b.lease(1 * s)
	l.move("scada", "b")
	b.step(1*s, StateChanged{State: l.state})
	b.agent.cfg.Timing.PrepareTimeout = s
	late := 2*s + 1
	if ends := find[Propose](b.step(late, GuestsObserved{Asked: late, Copies: running})); len(ends) != 1 || ends[0].Command.FinishMove == nil {
		t.Fatalf("it proposes %+v; want the end of the move", ends)
	}
	l.ready("scada") // entered before the end that was proposed
	if run := find[RunMove](b.step(late, StateChanged{State: l.state})); len(run) != 0 {
		t.Errorf("%+v: it begins a move that it has given up", run)
	}
	if allow := find[AllowStop](b.step(late, MoveAsksToStop{Move: "scada-2"})); len(allow) != 0 {
		t.Error("it allows a move to stop the guest that it has given up")
	}
}

// Each choice must see the one before it: otherwise all guests go to the host
// that was emptiest at first.
func TestGuestsArePlacedOneAfterTheOther(t *testing.T) {
	l := site(t)
	b := newBench(t, l, "w")
	b.agent.cfg.Role = Witness
	b.step(1*s, StateChanged{State: l.state})
	b.step(1*s, LeadershipChanged{Leader: true, Term: 1})
	for _, host := range []string{"a", "b", "c"} {
		b.step(1*s, LeaseRequested{Host: host, AskedAt: 1, Verified: true})
	}
	actions := b.actions
	owners := map[string]string{}
	for range 3 {
		place := find[Propose](actions)
		if len(place) != 1 {
			t.Fatalf("%d placements at once; want one", len(place))
		}
		c := place[0].Command
		l.do(c.By, c)
		owners[c.Assign.Guest] = c.Assign.To
		actions = b.step(1*s, StateChanged{State: l.state})
	}
	hosts := []string{owners["main1"], owners["main2"], owners["scada"]}
	slices.Sort(hosts)
	if !slices.Equal(hosts, []string{"a", "b", "c"}) {
		t.Errorf("owners = %v; want one guest on each host", owners)
	}
}

// A leader that dies takes a request with it. The next one must have a chance to
// answer before the lease runs out.
func TestARequestForALeaseIsRepeatedSoonUnlessItIsAnswered(t *testing.T) {
	asked := func(answer bool) (at []time.Duration) {
		b := newBench(t, site(t), "a")
		for now := s; now < 4*s; now += 250 * time.Millisecond {
			for _, a := range find[AskLease](b.step(now, Tick{})) {
				at = append(at, a.AskedAt)
				if answer {
					b.step(now, LeaseReply{AskedAt: a.AskedAt, Granted: true})
				}
			}
		}
		return at
	}
	if got, want := asked(true), []time.Duration{1 * s, 2 * s, 3 * s}; !slices.Equal(got, want) {
		t.Errorf("answered requests go out at %v; want %v", got, want)
	}
	if got := asked(false); len(got) != 12 {
		t.Errorf("unanswered requests go out at %v; want one on every tick", got)
	}
}

// The election may have taken most of the lease: waiting for the next tick killed
// a guest 300 ms after its host had become the leader.
func TestANewLeaderAsksForItsOwnLeaseAtOnce(t *testing.T) {
	b := newBench(t, site(t), "a")
	b.lease(1 * s)
	b.step(1900*time.Millisecond, Tick{})
	at := 1910 * time.Millisecond
	if asks := find[AskLease](b.step(at, LeadershipChanged{Leader: true, Term: 2})); len(asks) != 1 || asks[0].AskedAt != at {
		t.Errorf("a new leader asks %+v; want one request, at once", asks)
	}
}

func TestNothingIsStartedAtTheVeryEndOfALease(t *testing.T) {
	b := newBench(t, site(t), "a")
	b.step(1*s, GuestsObserved{Asked: 1 * s})
	b.lease(1 * s) // until 4 s
	b.place("scada", "a")
	if starts := find[StartGuest](b.step(3600*time.Millisecond, StateChanged{State: b.state})); len(starts) != 0 {
		t.Errorf("it starts %+v 400 ms before the lease ends", starts)
	}
	if starts := find[StartGuest](b.lease(3700 * time.Millisecond)); len(starts) != 1 {
		t.Errorf("%d starts with the next lease; want one", len(starts))
	}
}

// A guest may start right after the order to pet was given.
func TestAPetHasALimitWheneverThereIsALease(t *testing.T) {
	b := newBench(t, site(t), "a")
	b.step(1*s, GuestsObserved{Asked: 1 * s})
	if pets := find[PetWatchdog](b.step(1*s, Tick{})); len(pets) != 1 || pets[0].NotAfter != 0 {
		t.Fatalf("without lease and copies: %+v; want a pet without limit", pets)
	}
	b.lease(1 * s)
	if pets := find[PetWatchdog](b.step(2*s, Tick{})); len(pets) != 1 || pets[0].NotAfter != 4*s {
		t.Errorf("with a lease until 4 s: %+v; want a pet not after 4 s", pets)
	}
}
