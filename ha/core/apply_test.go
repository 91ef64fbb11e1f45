package core

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// log is a sequence of commands for tests, with what they made.
type log struct {
	t     testing.TB
	state State
}

func hostOrder(name string) Order { return Order{Name: name, Role: RoleHost} }

var (
	operator = Order{Name: "olga", Role: "OPERATOR"}
	engineer = Order{Name: "emil", Role: "ENGINEER"}
)

// site has the servers a, b and c and the witness w, each with room for four
// guests; main1 and main2 are partners. Nothing runs yet.
func site(t testing.TB) *log {
	l := &log{t: t, state: NewState()}
	for _, name := range []string{"a", "b", "c"} {
		l.do(hostOrder("a"), Command{RegisterHost: &RegisterHost{Name: name, Role: Server, MemoryMiB: 4096}})
	}
	l.do(hostOrder("a"), Command{RegisterHost: &RegisterHost{Name: "w", Role: Witness}})
	for _, name := range []string{"main1", "main2", "scada"} {
		spec := GuestSpec{Name: name, Spec: name, MemoryMiB: 1024, BudgetMs: 300}
		if name != "scada" {
			spec.Group = "protection"
		}
		l.do(hostOrder("a"), Command{RegisterGuest: &RegisterGuest{GuestSpec: spec, Wanted: true}})
	}
	return l
}

func (l *log) try(by Order, c Command) Result {
	c.By = by
	next, r := Apply(l.state, c)
	l.state = next
	return r
}

func (l *log) do(by Order, c Command) Result {
	l.t.Helper()
	r := l.try(by, c)
	if !r.OK() {
		l.t.Fatalf("%s: %s", r.Code, r.Text)
	}
	return r
}

func (l *log) place(guest, host string) *log {
	l.t.Helper()
	l.do(hostOrder("a"), Command{Assign: &Assign{Guest: guest, To: host, Epoch: l.state.Guests[guest].Epoch, Reason: "test"}})
	return l
}

func (l *log) move(guest, to string) *log {
	l.t.Helper()
	epoch := l.state.Guests[guest].Epoch
	l.do(operator, Command{BeginMove: &BeginMove{ID: MoveID(guest, epoch+1), Guest: guest, To: to, Epoch: epoch, Reason: "test"}})
	return l
}

func (l *log) ready(guest string) *log {
	l.t.Helper()
	m := l.state.Moves[guest]
	l.do(hostOrder(m.To), Command{DestinationReady: &DestinationReady{ID: m.ID, Addresses: []string{"192.0.2.1:7000"}}})
	return l
}

func (l *log) doubt(guest string) *log {
	l.t.Helper()
	m := l.state.Moves[guest]
	l.do(hostOrder(m.From), Command{MoveInDoubt: &MoveInDoubt{ID: m.ID, Why: "no RUNNING"}})
	return l
}

func (l *log) gone(host string) *log {
	l.t.Helper()
	copies := map[string]uint64{}
	for name, g := range l.state.Guests {
		if tag, may := g.MayRun[host]; may {
			copies[name] = tag
		}
	}
	l.do(hostOrder("w"), Command{HostGone: &HostGone{Host: host, Proof: Waited, Copies: copies}})
	return l
}

func (l *log) maintain(host string) *log {
	l.t.Helper()
	l.do(operator, Command{SetMaintenance: &SetMaintenance{Host: host, On: true, Reason: "fans"}})
	return l
}

func (l *log) want(guest string, wanted bool) *log {
	l.t.Helper()
	l.do(operator, Command{SetWanted: &SetWanted{Guest: guest, Wanted: wanted}})
	return l
}

// TestEachRefusalSaysWhatWouldHelp lists every refusal of every command: its
// code, and the words in it that name the obstacle or the way out.
func TestEachRefusalSaysWhatWouldHelp(t *testing.T) {
	long := strings.Repeat("x", MaxName+1)
	begin := func(guest, to string, epoch uint64) Command {
		return Command{BeginMove: &BeginMove{ID: MoveID(guest, epoch+1), Guest: guest, To: to, Epoch: epoch}}
	}
	tests := []struct {
		name  string
		given func(*log)
		by    Order
		c     Command
		code  Code
		text  string
	}{
		{"an empty command", nil, operator, Command{}, Malformed, "update this host"},
		{"a command of a later release", nil, operator, Command{Version: 2, SetWanted: &SetWanted{Guest: "scada"}}, Malformed, "update this host"},
		{"two commands at once", nil, operator, Command{SetWanted: &SetWanted{Guest: "scada"}, SetMaintenance: &SetMaintenance{Host: "a"}}, Malformed, "2 things at once"},
		{"a name with a space", nil, operator, Command{SetWanted: &SetWanted{Guest: "sca da"}}, Malformed, "without spaces"},
		{"a name that is too long", nil, operator, Command{SetWanted: &SetWanted{Guest: long}}, Malformed, "1 to 64"},
		{"a reason that is too long", nil, operator, Command{SetMaintenance: &SetMaintenance{Host: "a", Reason: strings.Repeat("x", MaxText+1)}}, Malformed, "the reason (--reason) has 1025 bytes: want at most 1024"},
		{"a reason that is no UTF-8", nil, operator, Command{SetMaintenance: &SetMaintenance{Host: "a", Reason: "\xff"}}, Malformed, "UTF-8"},

		{"a host of an unknown role", nil, operator, Command{RegisterHost: &RegisterHost{Name: "d", Role: "router"}}, Malformed, "a server or a witness"},
		{"a host with negative memory", nil, operator, Command{RegisterHost: &RegisterHost{Name: "d", Role: Server, MemoryMiB: -1}}, Malformed, "-1 MiB"},
		{"the 17th host", func(l *log) {
			for i := range MaxHosts - 4 {
				l.do(operator, Command{RegisterHost: &RegisterHost{Name: fmt.Sprint("h", i), Role: Server}})
			}
		}, operator, Command{RegisterHost: &RegisterHost{Name: "d", Role: Server}}, Full, "one more than the 16"},
		{"a guest with a negative budget", nil, operator, Command{RegisterGuest: &RegisterGuest{GuestSpec: GuestSpec{Name: "g", BudgetMs: -1}}}, Malformed, "neither may be negative"},
		{"a guest whose name leaves no room for a move's id", nil, operator, Command{RegisterGuest: &RegisterGuest{GuestSpec: GuestSpec{Name: long[:MaxGuestName+1]}}}, Malformed, "more than 40 bytes"},
		{"the 65th guest", func(l *log) {
			for i := range MaxGuests - 3 {
				l.do(operator, Command{RegisterGuest: &RegisterGuest{GuestSpec: GuestSpec{Name: fmt.Sprint("g", i)}}})
			}
		}, operator, Command{RegisterGuest: &RegisterGuest{GuestSpec: GuestSpec{Name: "g"}}}, Full, "one more than the 64"},

		{"stopping an unknown guest", nil, operator, Command{SetWanted: &SetWanted{Guest: "nobody"}}, Unknown, "see `bumpless guests`"},
		{"stopping a guest that is being moved", func(l *log) { l.place("scada", "a").move("scada", "b") }, operator,
			Command{SetWanted: &SetWanted{Guest: "scada"}}, Moving, "stop it when the move has ended"},
		{"draining an unknown host", nil, operator, Command{SetMaintenance: &SetMaintenance{Host: "z", On: true}}, Unknown, "see `bumpless status`"},

		{"assigning an unknown guest", nil, hostOrder("a"), Command{Assign: &Assign{Guest: "nobody", To: "a"}}, Unknown, "see `bumpless guests`"},
		{"assigning to an unknown host", nil, hostOrder("a"), Command{Assign: &Assign{Guest: "scada", To: "z"}}, Unknown, "see `bumpless status`"},
		{"assigning to a witness", nil, hostOrder("a"), Command{Assign: &Assign{Guest: "scada", To: "w"}}, NotInService, "runs no guests"},
		{"assigning with an old epoch", func(l *log) { l.place("scada", "a").gone("a") }, hostOrder("a"),
			Command{Assign: &Assign{Guest: "scada", To: "b"}}, Stale, "look again and repeat"},
		{"assigning a guest that may run elsewhere", func(l *log) { l.place("scada", "a") }, hostOrder("b"),
			Command{Assign: &Assign{Guest: "scada", To: "b", Epoch: 1}}, MayStillRun, "only on proof"},
		{"restarting a guest on another host's behalf", func(l *log) { l.place("scada", "a") }, hostOrder("b"),
			Command{Assign: &Assign{Guest: "scada", To: "a", Epoch: 1}}, MayStillRun, "only that host itself"},
		{"assigning a guest that is being moved", func(l *log) { l.place("scada", "a").move("scada", "b") }, hostOrder("a"),
			Command{Assign: &Assign{Guest: "scada", To: "a", Epoch: 2}}, Moving, "move scada-2"},
		{"assigning a guest that is not wanted", func(l *log) { l.want("scada", false) }, hostOrder("a"),
			Command{Assign: &Assign{Guest: "scada", To: "a"}}, NotRunning, "ordered to be stopped"},
		{"assigning to a host in maintenance", func(l *log) { l.maintain("a") }, hostOrder("a"),
			Command{Assign: &Assign{Guest: "scada", To: "a"}}, NotInService, "`bumpless resume a` first"},
		{"assigning beside a partner", func(l *log) { l.place("main1", "a") }, hostOrder("a"),
			Command{Assign: &Assign{Guest: "main2", To: "a"}}, GroupShared, "its partner main1"},
		{"assigning to a full host", func(l *log) {
			l.do(operator, Command{RegisterGuest: &RegisterGuest{GuestSpec: GuestSpec{Name: "big", MemoryMiB: 4000}, Wanted: true}})
			l.place("big", "a")
		}, hostOrder("a"), Command{Assign: &Assign{Guest: "scada", To: "a"}}, NoRoom, "has 96 MiB free for guests, guest scada needs 1024"},

		{"moving an unknown guest", nil, operator, begin("nobody", "a", 0), Unknown, "see `bumpless guests`"},
		{"moving a guest to where it is", func(l *log) { l.place("scada", "a") }, operator, begin("scada", "a", 1), AlreadyThere, "already on host a"},
		{"moving a guest that does not run", nil, operator, begin("scada", "a", 0), NotRunning, "does not run in exactly one known place, so it cannot be moved; see `bumpless explain scada`"},
		{"a second move of the same guest", func(l *log) { l.place("scada", "a").move("scada", "b") }, operator, begin("scada", "c", 2), Moving, "wait for its end"},
		{"a move's id for the second time", func(l *log) {
			l.place("scada", "a").move("scada", "b")
			l.do(hostOrder("a"), Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: Refused}})
		}, operator, Command{BeginMove: &BeginMove{ID: "scada-2", Guest: "scada", To: "b", Epoch: 2}}, Stale, "has already been"},
		{"moving with an old epoch", func(l *log) { l.place("scada", "a") }, operator, begin("scada", "b", 0), Stale, "look again and repeat"},
		{"moving to a host in maintenance", func(l *log) { l.place("scada", "a").maintain("b") }, operator, begin("scada", "b", 1), NotInService, "by olga"},
		{"moving to a partner's host", func(l *log) { l.place("main1", "a").place("main2", "b") }, operator, begin("main1", "b", 1), GroupShared, "its partner main2"},
		{"moving while a partner moves", func(l *log) { l.place("main1", "a").place("main2", "b").move("main2", "c") }, operator, begin("main1", "c", 1), GroupMoving, "not now: main2, the partner of guest main1 in group protection, is being moved (move main2-2); order it again when that move has ended"},
		{"moving while a partner is down", func(l *log) { l.place("main1", "a") }, operator, begin("main1", "b", 1), PartnerDown, "see `bumpless explain main2`, and an ENGINEER may insist (--insist)"},
		{"insisting as an operator", func(l *log) { l.place("main1", "a") }, operator,
			Command{BeginMove: &BeginMove{ID: "main1-2", Guest: "main1", To: "b", Epoch: 1, Insist: true}}, NotAllowed, "needs the role ENGINEER"},
		{"insisting while a partner moves", func(l *log) { l.place("main1", "a").place("main2", "b").move("main2", "c") }, engineer,
			Command{BeginMove: &BeginMove{ID: "main1-2", Guest: "main1", To: "c", Epoch: 1, Insist: true}}, GroupMoving, "not now"},

		{"readiness of an unknown move", nil, hostOrder("b"), Command{DestinationReady: &DestinationReady{ID: "x-1"}}, Unknown, "no move is named"},
		{"readiness from another host", func(l *log) { l.place("scada", "a").move("scada", "b") }, hostOrder("c"),
			Command{DestinationReady: &DestinationReady{ID: "scada-2"}}, NotAllowed, "not the destination"},
		{"readiness for the second time", func(l *log) { l.place("scada", "a").move("scada", "b").ready("scada") }, hostOrder("b"),
			Command{DestinationReady: &DestinationReady{ID: "scada-2"}}, Stale, "is ready already"},
		{"readiness with too many addresses", nil, hostOrder("b"),
			Command{DestinationReady: &DestinationReady{ID: "scada-2", Addresses: make([]string, MaxAddresses+1)}}, Malformed, "no name"},

		{"the end of a move from a stranger", func(l *log) { l.place("scada", "a").move("scada", "b") }, hostOrder("c"),
			Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: Moved}}, NotAllowed, "takes no part"},
		{"a roll-back in the destination's words", func(l *log) { l.place("scada", "a").move("scada", "b") }, hostOrder("b"),
			Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: RolledBack}}, NotAllowed, "only the source a"},
		{"a roll-back after COMMIT", func(l *log) { l.place("scada", "a").move("scada", "b").ready("scada").doubt("scada") }, hostOrder("a"),
			Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: RolledBack}}, Stale, "the log decides it"},
		{"a roll-back by a source that has lost its copy", func(l *log) {
			l.place("scada", "a").move("scada", "b").ready("scada")
			l.do(hostOrder("a"), Command{ReportStopped: &ReportStopped{Host: "a", Guest: "scada", Epoch: 1}})
		}, hostOrder("a"), Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: Failed}}, Stale, "the destination decides"},
		{"an unknown outcome", func(l *log) { l.place("scada", "a").move("scada", "b") }, hostOrder("a"),
			Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: "in-doubt"}}, Malformed, `cannot end in "in-doubt"`},
		{"the end of a move for the second time", func(l *log) {
			l.place("scada", "a").move("scada", "b")
			l.do(hostOrder("a"), Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: Refused}})
		}, hostOrder("a"), Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: Failed}}, Stale, "has ended: refused"},
		{"doubt in the destination's words", func(l *log) { l.place("scada", "a").move("scada", "b") }, hostOrder("b"),
			Command{MoveInDoubt: &MoveInDoubt{ID: "scada-2"}}, NotAllowed, "not the source"},

		{"a stop in another host's words", func(l *log) { l.place("scada", "a") }, hostOrder("b"),
			Command{ReportStopped: &ReportStopped{Host: "a", Guest: "scada", Epoch: 1}}, NotAllowed, "only the host itself"},
		{"the stop of an unknown guest", nil, hostOrder("a"), Command{ReportStopped: &ReportStopped{Host: "a", Guest: "nobody"}}, Unknown, "see `bumpless guests`"},
		{"the stop of an older copy", func(l *log) { l.place("scada", "a") }, hostOrder("a"),
			Command{ReportStopped: &ReportStopped{Host: "a", Guest: "scada", Epoch: 0}}, Stale, "a copy of epoch 1 may exist"},
		{"the end of an unknown host", nil, hostOrder("b"), Command{HostGone: &HostGone{Host: "z", Proof: Waited}}, Unknown, "see `bumpless status`"},
		{"the end of a host on no proof", nil, hostOrder("b"), Command{HostGone: &HostGone{Host: "a", Proof: "it does not ping"}}, Malformed, "is no proof"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := site(t)
			if tt.given != nil {
				tt.given(l)
			}
			before := l.state.Clone()
			r := l.try(tt.by, tt.c)
			if r.Code != tt.code || !strings.Contains(r.Text, tt.text) {
				t.Errorf("Apply() = %q, %q; want %q with %q", r.Code, r.Text, tt.code, tt.text)
			}
			before.Index++
			if !reflect.DeepEqual(l.state, before) {
				t.Error("a refused command changed more than the index")
			}
		})
	}
}

func TestACommandOfAnotherTermIsRefused(t *testing.T) {
	l := site(t).place("scada", "a")
	c := Command{By: hostOrder("b"), Term: 3, HostGone: &HostGone{Host: "a", Proof: Waited, Copies: map[string]uint64{"scada": 1}}}
	s, r := ApplyEntry(l.state, c, 4)
	if r.Code != Stale || s.Guests["scada"].MayRun["a"] != 1 || s.Index != l.state.Index+1 {
		t.Errorf("ApplyEntry(term 4) = %+v, may run %v; want it stale and a left alone", r, s.Guests["scada"].MayRun)
	}
	if s, r = ApplyEntry(l.state, c, 3); !r.OK() || len(s.Guests["scada"].MayRun) != 0 {
		t.Errorf("ApplyEntry(term 3) = %+v, may run %v; want it applied", r, s.Guests["scada"].MayRun)
	}
}

// TestAMoveEndsAsItsSidesDo lists the ways through the diagram of the package
// comment: who is meant to run afterwards, and where a copy may exist.
func TestAMoveEndsAsItsSidesDo(t *testing.T) {
	say := func(host string, c Command) func(*log) { return func(l *log) { l.do(hostOrder(host), c) } }
	finish := func(host string, o Outcome) func(*log) {
		return say(host, Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: o, Why: "said"}})
	}
	stopped := func(host string, epoch uint64) func(*log) {
		return say(host, Command{ReportStopped: &ReportStopped{Host: host, Guest: "scada", Epoch: epoch, Why: "dead"}})
	}
	ready := func(l *log) { l.ready("scada") }
	doubt := func(l *log) { l.doubt("scada") }
	gone := func(host string) func(*log) { return func(l *log) { l.gone(host) } }
	tests := []struct {
		name    string
		steps   []func(*log)
		phase   Phase
		outcome Outcome
		late    bool
		owner   string
		copy    uint64
		mayRun  string
	}{
		{"it has begun", nil, Preparing, "", false, "a", 1, "map[a:1 b:2]"},
		{"the source says moved", []func(*log){ready, finish("a", Moved)}, Finished, Moved, false, "b", 2, "map[b:2]"},
		{"the destination says moved", []func(*log){ready, finish("b", Moved)}, Finished, Moved, false, "b", 2, "map[b:2]"},
		{"the source says refused", []func(*log){ready, finish("a", Refused)}, Finished, Refused, false, "a", 1, "map[a:1]"},
		{"the source rolls back", []func(*log){ready, finish("a", RolledBack)}, Finished, RolledBack, false, "a", 1, "map[a:1]"},
		{"the destination dies while preparing", []func(*log){stopped("b", 2)}, Finished, Refused, false, "a", 1, "map[a:1]"},
		{"the destination dies when ready", []func(*log){ready, stopped("b", 2)}, Ready, "", false, "a", 1, "map[a:1]"},
		{"and then the source rolls back", []func(*log){ready, stopped("b", 2), finish("a", RolledBack)}, Finished, RolledBack, false, "a", 1, "map[a:1]"},
		{"and then the source had committed", []func(*log){ready, stopped("b", 2), doubt}, Finished, RolledBack, true, "a", 1, "map[a:1]"},
		{"in doubt", []func(*log){ready, doubt}, InDoubt, "", false, "a", 1, "map[a:1 b:2]"},
		{"doubt said twice", []func(*log){ready, doubt, doubt}, InDoubt, "", false, "a", 1, "map[a:1 b:2]"},
		{"in doubt, the destination runs", []func(*log){ready, doubt, finish("b", Moved)}, Finished, Moved, true, "b", 2, "map[b:2]"},
		{"in doubt, the destination never ran", []func(*log){ready, doubt, stopped("b", 2)}, Finished, RolledBack, true, "a", 1, "map[a:1]"},
		{"in doubt, the destination's host is gone", []func(*log){ready, doubt, gone("b")}, Finished, RolledBack, true, "a", 1, "map[a:1]"},
		{"the source's host is gone", []func(*log){ready, gone("a")}, Ready, "", false, "a", 1, "map[b:2]"},
		{"and the destination runs", []func(*log){ready, gone("a"), finish("b", Moved)}, Finished, Moved, false, "b", 2, "map[b:2]"},
		{"and the destination never ran", []func(*log){ready, gone("a"), stopped("b", 2)}, Finished, Failed, false, "", 1, "map[]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := site(t).place("scada", "a").move("scada", "b")
			for _, step := range tt.steps {
				step(l)
			}
			g := l.state.Guests["scada"]
			m, _ := l.state.FindMove("scada-2")
			if m.Phase != tt.phase || m.Outcome != tt.outcome || m.Late != tt.late {
				t.Errorf("move is %s %q late %v; want %s %q late %v", m.Phase, m.Outcome, m.Late, tt.phase, tt.outcome, tt.late)
			}
			if got := fmt.Sprint(g.MayRun); g.Owner != tt.owner || g.Copy != tt.copy || got != tt.mayRun || g.Epoch != 2 {
				t.Errorf("guest: owner %q copy %d may run %s epoch %d; want %q %d %s 2", g.Owner, g.Copy, got, g.Epoch, tt.owner, tt.copy, tt.mayRun)
			}
			if _, on := l.state.Moves["scada"]; on != (tt.phase != Finished) {
				t.Errorf("move in progress = %v in phase %s", on, tt.phase)
			}
		})
	}
}

func TestATakeoverNeedsTheProofOfEveryOtherHost(t *testing.T) {
	l := site(t).place("scada", "a").gone("a")
	if g := l.state.Guests["scada"]; g.Owner != "" || len(g.MayRun) != 0 {
		t.Fatalf("after its host is gone the guest belongs to %q, may run %v; want nobody", g.Owner, g.MayRun)
	}
	r := l.do(hostOrder("b"), Command{Assign: &Assign{Guest: "scada", To: "b", Epoch: 1}})
	if g := l.state.Guests["scada"]; r.Epoch != 2 || g.Owner != "b" || g.Copy != 2 || fmt.Sprint(g.MayRun) != "map[b:2]" {
		t.Errorf("Assign = epoch %d, %+v; want epoch 2 on b alone", r.Epoch, g)
	}
}

func TestHostGoneLeavesNewerCopiesAlone(t *testing.T) {
	l := site(t).place("scada", "a")
	l.do(hostOrder("a"), Command{Assign: &Assign{Guest: "scada", To: "a", Epoch: 1, Reason: "it died"}})
	l.do(hostOrder("b"), Command{HostGone: &HostGone{Host: "a", Proof: Waited, Copies: map[string]uint64{"scada": 1, "nobody": 7}}})
	if may := l.state.Guests["scada"].MayRun; fmt.Sprint(may) != "map[a:2]" {
		t.Errorf("may run = %v; want the copy of epoch 2 untouched by a proof about epoch 1", may)
	}
}

func TestAStopIsReportedOnce(t *testing.T) {
	l := site(t).place("scada", "a")
	report := Command{ReportStopped: &ReportStopped{Host: "a", Guest: "scada", Epoch: 1}}
	l.do(hostOrder("a"), report)
	records := len(l.state.Records)
	l.do(hostOrder("a"), report)
	if len(l.state.Records) != records {
		t.Error("the second report is recorded")
	}
}

func TestADrainedHostIsInMaintenanceOnceItIsEmpty(t *testing.T) {
	l := site(t).place("scada", "a").maintain("a")
	if s := l.state.Hosts["a"].Service; s != Draining {
		t.Fatalf("service = %s with a guest on it; want draining", s)
	}
	landscape := l.state.Landscape
	l.maintain("a")
	if l.state.Landscape != landscape+1 {
		t.Error("a second order to drain does not make refused moves possible again")
	}
	l.move("scada", "b").ready("scada")
	l.do(hostOrder("b"), Command{FinishMove: &FinishMove{ID: "scada-2", Outcome: Moved}})
	if s := l.state.Hosts["a"].Service; s != Maintenance {
		t.Fatalf("service = %s with nothing on it; want maintenance", s)
	}
	l.do(operator, Command{SetMaintenance: &SetMaintenance{Host: "a"}})
	if s := l.state.Hosts["a"].Service; s != InService {
		t.Errorf("service = %s after resume; want in-service", s)
	}
}

func TestRegisteringAgainKeepsTheOperatorsOrder(t *testing.T) {
	l := site(t).want("scada", false)
	index := l.state.Landscape
	spec := l.state.Guests["scada"].GuestSpec
	l.do(hostOrder("a"), Command{RegisterGuest: &RegisterGuest{GuestSpec: spec, Wanted: true}})
	if l.state.Guests["scada"].Wanted || l.state.Landscape != index {
		t.Error("the same guest registered again changed something")
	}
	spec.BudgetMs = 100
	l.do(hostOrder("a"), Command{RegisterGuest: &RegisterGuest{GuestSpec: spec, Wanted: true}})
	if g := l.state.Guests["scada"]; g.Wanted || g.BudgetMs != 100 {
		t.Errorf("guest = %+v; want the new budget and the old order", g)
	}
	l.do(hostOrder("a"), Command{RegisterHost: &RegisterHost{Name: "a", Role: Server, MemoryMiB: 8192}})
	if h := l.state.Hosts["a"]; h.MemoryMiB != 8192 || h.Service != InService {
		t.Errorf("host = %+v; want the new memory", h)
	}
}

func TestAnEngineerMayInsistOnMovingAGuestWithoutPartner(t *testing.T) {
	l := site(t).place("main1", "a")
	l.do(engineer, Command{BeginMove: &BeginMove{ID: "main1-2", Guest: "main1", To: "b", Epoch: 1, Insist: true}})
	if m := l.state.Moves["main1"]; m.To != "b" || m.By != engineer {
		t.Errorf("move = %+v; want one to b, by the engineer", m)
	}
}

func TestTheStateStaysBounded(t *testing.T) {
	l := site(t).place("scada", "a")
	for range MaxRecords {
		epoch := l.state.Guests["scada"].Epoch
		l.move("scada", "b")
		l.do(hostOrder("a"), Command{FinishMove: &FinishMove{ID: MoveID("scada", epoch+1), Outcome: Refused, Why: strings.Repeat("w", MaxText)}})
	}
	if len(l.state.Past) != MaxPastMoves || len(l.state.Records) != MaxRecords {
		t.Errorf("%d moves and %d records are kept; want %d and %d", len(l.state.Past), len(l.state.Records), MaxPastMoves, MaxRecords)
	}
	if l.state.Guests["scada"].Tries != MaxRecords {
		t.Errorf("tries = %d; want %d", l.state.Guests["scada"].Tries, MaxRecords)
	}
	for _, r := range l.state.Records {
		if len(r.What) > MaxText {
			t.Fatalf("a record has %d bytes", len(r.What))
		}
	}
}

// TestApplyLeavesTheOldStateAsItWas: readers hold states while the log goes on.
func TestApplyLeavesTheOldStateAsItWas(t *testing.T) {
	l := site(t)
	var kept []State
	var encoded []string
	steps := []func(){
		func() { l.place("scada", "a") }, func() { l.place("main1", "b") }, func() { l.move("scada", "b") }, func() { l.ready("scada") },
		func() { l.doubt("scada") }, func() { l.gone("b") }, func() { l.place("main1", "c") }, func() { l.maintain("a") }, func() { l.want("scada", false) },
	}
	for _, step := range steps {
		b, err := l.state.Encode()
		if err != nil {
			t.Fatal(err)
		}
		kept, encoded = append(kept, l.state), append(encoded, string(b))
		step()
	}
	for i, s := range kept {
		if b, err := s.Encode(); err != nil || string(b) != encoded[i] {
			t.Errorf("state %d has changed since (%v)", i, err)
		}
	}
}

func TestACloneSharesNothingThatIsWritten(t *testing.T) {
	l := site(t).place("scada", "a").move("scada", "b")
	s := l.state
	before, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	c := s.Clone()
	c.Hosts["x"] = Host{}
	c.Guests["scada"].MayRun["x"] = 9
	c.Guests["x"] = Guest{}
	c.Moves["x"] = Move{}
	_ = append(c.Past, Move{ID: "x"})
	_ = append(c.Records, Record{What: "x"})
	if after, err := s.Encode(); err != nil || !slices.Equal(before, after) {
		t.Errorf("writing into the clone changed the original (%v)", err)
	}
}
