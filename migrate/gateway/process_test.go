package gateway

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "gateway" {
		os.Exit(Main(os.Args[2], os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// sourceProcess starts the source's gateway as a daemon does.
func (b *bench) sourceProcess() (cmd *exec.Cmd, stdin io.WriteCloser, lines *bufio.Scanner, stdout io.Closer) {
	b.t.Helper()
	cmd = exec.Command("/proc/self/exe", "gateway", "source")
	stdin, err := cmd.StdinPipe()
	must(b.t, err)
	out, err := cmd.StdoutPipe()
	must(b.t, err)
	must(b.t, cmd.Start())
	b.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it may have ended
	must(b.t, json.NewEncoder(stdin).Encode(b.source))
	return cmd, stdin, bufio.NewScanner(out), out
}

// destinationOnly starts the destination in this process.
func (b *bench) destinationOnly() {
	b.t.Helper()
	source := b.source
	b.source.BudgetMs = -1 // begin's own source ends at once
	b.begin()
	b.result(0)
	source.Addresses = b.source.Addresses
	b.source = source
}

func phaseIn(t *testing.T, lines *bufio.Scanner, p Phase) {
	t.Helper()
	for lines.Scan() {
		var e Event
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Phase == p {
			return
		}
	}
	t.Fatalf("the gateway ended before %s", p)
}

func waitUntil(t *testing.T, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", limit, what)
		}
	}
}

// drainingProcess is a move whose source's gateway is a process of its own, and
// waits while it drains.
func drainingProcess(t *testing.T) (b *bench, stdin io.WriteCloser, lines *bufio.Scanner, stdout io.Closer) {
	t.Helper()
	b = newBench(t)
	b.source.BudgetMs, b.source.PauseAt = 20_000, Draining
	b.destinationOnly()
	_, stdin, lines, stdout = b.sourceProcess()
	phaseIn(t, lines, Draining)
	if status, _ := b.src.is(); status != "paused" {
		t.Fatalf("the guest is %s; want paused", status)
	}
	return b, stdin, lines, stdout
}

// A daemon that is killed takes both ends of the gateway's pipes with it: the
// gateway must roll back although it cannot write a line about it.
func TestAKilledDaemonsGatewayGivesTheGuestBack(t *testing.T) {
	b, stdin, _, stdout := drainingProcess(t)
	stdout.Close()
	stdin.Close()
	waitUntil(t, "the guest to run on", 2*time.Second, func() bool { s, _ := b.src.is(); return s == "running" })
}

// A daemon that hangs reads nothing: progress must not wait for it.
func TestADaemonThatDoesNotReadDoesNotHoldTheMoveUp(t *testing.T) {
	out, in := io.Pipe() // takes nothing that is not read
	defer out.Close()
	p := newProcess(in)
	begun := time.Now()
	for range 5 * lineBacklog {
		p.report(Event{Phase: Stopped})
	}
	if d := time.Since(begun); d > 2*time.Second {
		t.Errorf("report() took %v without a reader; want no wait", d)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if status := p.end(Result{Outcome: Moved}); status != 0 {
		t.Errorf("end(moved) = %d; want 0", status)
	}
}

func TestTheLastLineBearsTheResult(t *testing.T) {
	for name, c := range map[string]struct{ role, in, why string }{
		"no configuration":               {"source", "", "no configuration"},
		"none after a move was expected": {"source", `{"expected_pid":1}` + "\n", "no configuration"},
		"not JSON":                       {"source", "hello\n", "read the gateway's configuration"},
		"another role":                   {"middle", "{}\n", "want source, destination or trace"},
		"no policy":                      {"source", `{"budget_ms":100}` + "\n", "no policy"},
		"no monitor":                     {"destination", `{"qmp":"/nonexistent"}` + "\n", "connect to QEMU's monitor"},
		"a configuration of 2 MiB":       {"source", strings.Repeat(" ", 2<<20), "no configuration"},
	} {
		var out strings.Builder
		if status := Main(c.role, strings.NewReader(c.in), &out); status != 1 {
			t.Errorf("%s: Main() = %d; want 1", name, status)
		}
		all := strings.Split(strings.TrimSpace(out.String()), "\n")
		var e Event
		err := json.Unmarshal([]byte(all[len(all)-1]), &e)
		if err != nil || e.Result == nil || e.Result.Outcome != Failed || !strings.Contains(e.Result.Reason, c.why) {
			t.Errorf("%s: the last line is %q; want failed because of %q", name, all[len(all)-1], c.why)
		}
	}
}

func TestTheDaemonsAnswerDecides(t *testing.T) {
	for _, c := range []struct {
		early, say string // before it is asked, and then
		outcome    Outcome
		why        string
	}{
		{"", `{"command":"go"}`, Moved, ""},
		{"", `{"command":"no","reason":"the partner is ill"}`, Refused, "the partner is ill"},
		{"", `{"command":"abort","reason":"enough"}`, Failed, "aborted by the daemon: enough"},
		// What was allowed earlier is not allowed now.
		{`{"command":"go"}`, `{"command":"no","reason":"the lease ran out"}`, Refused, "the lease ran out"},
	} {
		b := newBench(t)
		b.source.AskToStop = true
		b.destinationOnly()
		_, stdin, lines, _ := b.sourceProcess()
		_, err := io.WriteString(stdin, c.early+"\n")
		must(t, err)
		phaseIn(t, lines, AskingStop)
		_, err = io.WriteString(stdin, "not a command\n"+c.say+"\n")
		must(t, err)
		var last Event
		for lines.Scan() {
			last = Event{}
			must(t, json.Unmarshal(lines.Bytes(), &last))
		}
		if last.Result == nil || last.Result.Outcome != c.outcome || !strings.Contains(last.Result.Reason, c.why) {
			t.Errorf("%s: %+v; want %s because of %q", c.say, last.Result, c.outcome, c.why)
		}
	}
}

func TestAGatewayThatWaitsInAPhaseGoesOnWhenItIsTold(t *testing.T) {
	b, stdin, lines, _ := drainingProcess(t)
	time.Sleep(50 * time.Millisecond)
	if status, _ := b.src.is(); status != "paused" {
		t.Fatalf("the guest is %s; want paused", status)
	}
	_, err := io.WriteString(stdin, "{\"command\":\"on\"}\n")
	must(t, err)
	phaseIn(t, lines, Running)
	b.guest("dst")
}
