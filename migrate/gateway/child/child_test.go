package child

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bumpless/migrate/gateway"
)

const patience = 20 * time.Second

// started is a gateway played by a shell script, in dir.
func started(t *testing.T, script string) (g *Gateway, dir string) {
	t.Helper()
	dir = t.TempDir()
	binary := filepath.Join(dir, "bumpless")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	g, err := Start(binary, "source", dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.End)
	return g, dir
}

// heard is what a gateway tells.
type heard struct {
	mu     sync.Mutex
	phases []string
}

func (h *heard) saw(e gateway.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phases = append(h.phases, string(e.Phase))
}

func (h *heard) all() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.phases, "|")
}

// notes makes a script write what it is given to a file beside the binary.
const notes = `given="${0%/*}/given"; `

// given to a gateway whose script begins with notes.
func given(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "given"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func ends(t *testing.T, g *Gateway) {
	t.Helper()
	select {
	case <-g.Done:
	case <-time.After(patience):
		t.Fatal("the gateway lives")
	}
}

func TestAGatewayIsGivenLinesAndTellsEvents(t *testing.T) {
	g, dir := started(t, notes+`echo "$@" >&2
while read line; do echo "$line" >>"$given"; echo '{"phase":"stream"}'; done
echo '{"result":{"outcome":"moved","stop_ms":7}}'`)
	var h heard
	if err := g.Expect(gateway.Expected{PID: 7}); err != nil {
		t.Fatal(err)
	}
	if err := g.Begin(map[string]int{"budget_ms": 300}, h.saw); err != nil {
		t.Fatal(err)
	}
	g.Say("go")
	g.Refuse("no lease")
	g.LetGo()
	ends(t, g)
	want := `{"budget_ms":300}
{"command":"go","reason":""}
{"command":"no","reason":"no lease"}
`
	if got := given(t, dir); !strings.HasSuffix(got, want) { // what was expected comes first
		t.Errorf("it was given %s; want %s at the end", got, want)
	}
	if got := h.all(); !strings.HasSuffix(got, "stream|stream|stream|") {
		t.Errorf("it told %q; want three phases and its result", got)
	}
	if g.Result == nil || g.Result.Outcome != gateway.Moved || g.Result.StopMs != 7 || g.Garbled != nil {
		t.Errorf("it ended with %+v, %v; want its result", g.Result, g.Garbled)
	}
	if log, err := os.ReadFile(filepath.Join(dir, "source.log")); err != nil || string(log) != "gateway source\n" {
		t.Errorf("its log has %q, %v; want its arguments", log, err)
	}
	if g.Lives() || g.CPUSeconds() < 0 {
		t.Error("it lives")
	}
}

func TestALineThatIsNotUnderstoodIsKeptAsAnError(t *testing.T) {
	g, _ := started(t, `read line
echo '{"phase":"stream"}'
echo 'panic: out of memory'
echo '{"phase":7}'
echo '{"phase":"stop"}'`)
	var h heard
	if err := g.Begin(struct{}{}, h.saw); err != nil {
		t.Fatal(err)
	}
	ends(t, g)
	if got := h.all(); got != "stream|stop" || g.Result != nil {
		t.Errorf("it told %q and ended with %+v; want two phases and no result", got, g.Result)
	}
	if g.Garbled == nil || !strings.Contains(g.Garbled.Error(), "a line of the source gateway is not understood") || !strings.Contains(g.Garbled.Error(), "'p'") {
		t.Errorf("Garbled = %v; want the first of the two lines", g.Garbled)
	}
}

func TestAGatewayThatSaysNoEndOfALineIsKilled(t *testing.T) {
	g, _ := started(t, `read line; head -c 2000000 /dev/zero; sleep 600`)
	if err := g.Begin(struct{}{}, func(gateway.Event) {}); err != nil {
		t.Fatal(err)
	}
	ends(t, g)
}

func TestAGatewayThatDoesNotGiveUpIsKilled(t *testing.T) {
	g, _ := started(t, `exec sleep 600`)
	g.Abort(context.Background(), 10*time.Millisecond, "the move is over")
	ends(t, g)
}

func TestAGatewayThatGivesUpIsLeftTime(t *testing.T) {
	g, dir := started(t, notes+`read line; sleep 0.1; echo "$line" >"$given"`)
	g.Abort(context.Background(), patience, "the move is over")
	if got, want := given(t, dir), `{"command":"abort","reason":"the move is over"}`+"\n"; got != want {
		t.Errorf("it was given %s; want %s", got, want)
	}
}

func TestAGatewayThatCannotBeStartedIsAnError(t *testing.T) {
	for _, c := range []struct{ binary, dir, want string }{
		{"/nowhere/bumpless", t.TempDir(), "start the source gateway: "},
		{"/bin/true", "/nowhere", "source.log"},
	} {
		if _, err := Start(c.binary, "source", c.dir, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Start(%s, %s) = %v; want an error with %q", c.binary, c.dir, err, c.want)
		}
	}
	refuses := func(*exec.Cmd) error { return context.Canceled }
	if _, err := Start("/bin/true", "source", t.TempDir(), refuses); err == nil {
		t.Error("Start() = nil although it was not started")
	}
}

func TestAGatewayThatDiedBeforeItBeganIsAnError(t *testing.T) {
	g, _ := started(t, `exit 0`)
	ends(t, g)
	if err := g.Begin(struct{}{}, func(gateway.Event) {}); err == nil || !strings.Contains(err.Error(), "hand it its configuration") {
		t.Errorf("Begin() = %v; want an error", err)
	}
	g.Say("go") // harmless
	g.End()
}
