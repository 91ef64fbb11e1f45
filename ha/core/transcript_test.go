package core

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the transcripts of testdata anew")

// TestTranscripts plays testdata/*.txt. A line that starts in the first column
// is what happens, the indented lines below it are what core answers; comments
// start with #. What happens is one of:
//
//	log BY COMMAND ARGS        a command enters the log of the site() of the tests
//	TIME daemon HOST [fences] [prepare=TIMEOUT]  a new daemon begins
//	TIME state                 the log so far reaches the daemon
//	TIME tick
//	TIME leads TERM | TIME follows
//	TIME granted ASKED INDEX | TIME denied ASKED
//	TIME asked HOST ASKED [unverified]
//	TIME observed [GUEST/EPOCH:STATUS ...]
//	TIME started GUEST/EPOCH [ERROR]
//	TIME listens MOVE ADDRESS
//	TIME asks-to-stop MOVE
//	TIME gateway MOVE OUTCOME [committed] [WHY]
//	TIME failed KEY CODE
//	TIME fence HOST on|off ASKED
//
// Times are of the daemon's clock; requests for leases are not shown, petting
// where it changes. `go test ./ha/core -run Transcripts -update` writes the
// answers; read the difference before you commit it.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(b))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(b) {
				t.Errorf("%s: core answers otherwise:\n%s", file, got)
			}
		})
	}
}

// player plays one transcript.
type player struct {
	*log
	agent Agent
	out   strings.Builder
	pet   string // shown last
}

func play(t *testing.T, text string) string {
	p := &player{log: site(t)}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue
		}
		p.out.WriteString(line + "\n")
		if line != "" && !strings.HasPrefix(line, "#") {
			p.line(line)
		}
	}
	return p.out.String()
}

func (p *player) answer(format string, args ...any) {
	fmt.Fprintf(&p.out, "    "+format+"\n", args...)
}

func (p *player) line(line string) {
	words := strings.Fields(line)
	if words[0] == "log" {
		p.command(words[1], words[2], words[3:])
		return
	}
	now := p.duration(words[0])
	if words[1] == "daemon" {
		cfg := Config{Self: words[2], Role: p.state.Hosts[words[2]].Role, Timing: DefaultTiming()}
		for _, w := range words[3:] {
			if d, ok := strings.CutPrefix(w, "prepare="); ok {
				cfg.Timing.PrepareTimeout = p.duration(d)
			}
			cfg.Fences = cfg.Fences || w == "fences"
		}
		p.agent = New(cfg, now)
		p.pet = ""
		return
	}
	next, actions := Step(p.agent, now, p.event(now, words[1], words[2:]))
	p.agent = next
	for _, a := range actions {
		p.action(a)
	}
}

func (p *player) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		p.t.Fatalf("%q: %v", text, err)
	}
	return d
}

func (p *player) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		p.t.Fatalf("%q: %v", text, err)
	}
	return n
}

// copy reads GUEST/EPOCH.
func (p *player) copy(text string) (string, uint64) {
	guest, epoch, _ := strings.Cut(text, "/")
	return guest, p.number(epoch)
}

func (p *player) event(now time.Duration, kind string, args []string) Event {
	rest := func(from int) string { return strings.Join(args[min(from, len(args)):], " ") }
	switch kind {
	case "tick":
		return Tick{}
	case "state":
		return StateChanged{State: p.state}
	case "leads":
		return LeadershipChanged{Leader: true, Term: p.number(args[0])}
	case "follows":
		return LeadershipChanged{}
	case "granted":
		return LeaseReply{AskedAt: p.duration(args[0]), Granted: true, Index: p.number(args[1])}
	case "denied":
		return LeaseReply{AskedAt: p.duration(args[0]), Why: "no"}
	case "asked":
		return LeaseRequested{Host: args[0], AskedAt: p.duration(args[1]), Verified: len(args) < 3, Index: p.state.Index}
	case "observed":
		return GuestsObserved{Asked: now, Copies: p.copies(args)}
	case "started":
		guest, epoch := p.copy(args[0])
		return GuestStarted{Guest: guest, Epoch: epoch, Err: rest(1)}
	case "listens":
		return IncomingReady{Move: args[0], Addresses: args[1:]}
	case "asks-to-stop":
		return MoveAsksToStop{Move: args[0]}
	case "gateway":
		r := MoveResult{Move: args[0], Outcome: Outcome(args[1]), Committed: len(args) > 2 && args[2] == "committed"}
		r.Why = strings.TrimPrefix(strings.TrimPrefix(rest(2), "committed"), " ")
		return r
	case "failed":
		return ProposalFailed{Key: args[0], Code: Code(args[1])}
	case "fence":
		return FenceResult{Host: args[0], Off: args[1] == "off", AskedAt: p.duration(args[2]), Detail: "outlet reads " + args[1]}
	}
	p.t.Fatalf("no event is called %q", kind)
	return nil
}

func (p *player) copies(args []string) (list []Observed) {
	for _, a := range args {
		id, status, _ := strings.Cut(a, ":")
		guest, epoch := p.copy(id)
		list = append(list, Observed{Guest: guest, Epoch: epoch, Status: Status(status), PID: 1})
	}
	return list
}

// command enters a command by its short form, and shows the log's answer.
func (p *player) command(by, kind string, args []string) {
	order := hostOrder(by)
	if by == operator.Name {
		order = operator
	}
	arg := func(i int) string { return append(args, "", "", "")[i] }
	var c Command
	switch kind {
	case "assign": // GUEST HOST
		c.Assign = &Assign{Guest: arg(0), To: arg(1), Epoch: p.state.Guests[arg(0)].Epoch}
	case "move": // GUEST HOST
		epoch := p.state.Guests[arg(0)].Epoch
		c.BeginMove = &BeginMove{ID: MoveID(arg(0), epoch+1), Guest: arg(0), To: arg(1), Epoch: epoch, Reason: "operator"}
	case "ready": // MOVE ADDRESS
		c.DestinationReady = &DestinationReady{ID: arg(0), Addresses: args[1:]}
	case "finish": // MOVE OUTCOME
		c.FinishMove = &FinishMove{ID: arg(0), Outcome: Outcome(arg(1))}
	case "doubt": // MOVE
		c.MoveInDoubt = &MoveInDoubt{ID: arg(0)}
	case "stopped": // HOST GUEST/EPOCH
		guest, epoch := p.copy(arg(1))
		c.ReportStopped = &ReportStopped{Host: arg(0), Guest: guest, Epoch: epoch}
	case "gone": // HOST GUEST/EPOCH
		guest, epoch := p.copy(arg(1))
		c.HostGone = &HostGone{Host: arg(0), Proof: Waited, Copies: map[string]uint64{guest: epoch}}
	case "want", "unwant": // GUEST
		c.SetWanted = &SetWanted{Guest: arg(0), Wanted: kind == "want"}
	case "drain", "resume": // HOST
		c.SetMaintenance = &SetMaintenance{Host: arg(0), On: kind == "drain"}
	default:
		p.t.Fatalf("no command is called %q", kind)
	}
	if r := p.try(order, c); !r.OK() {
		p.answer("= %d refused, %s: %s", r.Index, r.Code, r.Text)
	} else {
		p.answer("= %d", r.Index)
	}
}

func (p *player) action(a Action) {
	switch a := a.(type) {
	case AskLease:
	case PetWatchdog:
		p.petting("pet the watchdog")
	case WithholdWatchdog:
		p.petting("withhold the watchdog: " + a.Why)
	case GrantLease:
		p.answer("grant %s the lease asked for at %v, index %d", a.Host, a.AskedAt, a.Index)
	case RefuseLease:
		p.answer("refuse %s the lease asked for at %v: %s", a.Host, a.AskedAt, a.Why)
	case StartGuest:
		p.answer("start %s/%d, not after %v", a.Guest, a.Epoch, a.NotAfter)
	case KillGuest:
		p.answer("kill %s/%d: %s", a.Guest, a.Epoch, a.Why)
	case PrepareIncoming:
		p.answer("prepare incoming %s/%d for move %s, not after %v", a.Move.Guest, a.Move.Epoch, a.Move.ID, a.NotAfter)
	case ExpectMove:
		p.answer("expect move %s of %s/%d", a.Move.ID, a.Move.Guest, a.Epoch)
	case RunMove:
		p.answer("run move %s of %s/%d to %v", a.Move.ID, a.Move.Guest, a.Epoch, a.Move.Addresses)
	case AllowStop:
		p.answer("allow move %s to stop the guest", a.Move)
	case AbortMove:
		p.answer("abort move %s: %s", a.Move, a.Why)
	case ResumeSource:
		p.answer("continue %s/%d after move %s, not after %v", a.Guest, a.Epoch, a.Move, a.NotAfter)
	case Propose:
		local := ""
		if a.LocalOnly {
			local = " (own log only)"
		}
		p.answer("propose %s%s: %s", a.ProposalKey, local, says(a.Command))
	case Fence:
		p.answer("fence %s, asked at %v", a.Host, a.AskedAt)
	}
}

func (p *player) petting(text string) {
	if text != p.pet {
		p.pet = text
		p.answer("%s", text)
	}
}

// says is a command in a few words.
func says(c Command) string {
	switch {
	case c.Assign != nil:
		return fmt.Sprintf("%s to %s: %s", c.Assign.Guest, c.Assign.To, c.Assign.Reason)
	case c.BeginMove != nil:
		return fmt.Sprintf("%s to %s: %s", c.BeginMove.Guest, c.BeginMove.To, c.BeginMove.Reason)
	case c.DestinationReady != nil:
		return fmt.Sprint(c.DestinationReady.Addresses)
	case c.FinishMove != nil:
		return fmt.Sprintf("%s: %s", c.FinishMove.Outcome, c.FinishMove.Why)
	case c.MoveInDoubt != nil:
		return c.MoveInDoubt.Why
	case c.ReportStopped != nil:
		return fmt.Sprintf("no %s/%d on %s: %s", c.ReportStopped.Guest, c.ReportStopped.Epoch, c.ReportStopped.Host, c.ReportStopped.Why)
	case c.HostGone != nil:
		return fmt.Sprintf("%s %v in term %d: %s", c.HostGone.Proof, c.HostGone.Copies, c.Term, c.HostGone.Detail)
	}
	return "?"
}
