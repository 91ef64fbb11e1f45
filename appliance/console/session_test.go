package console

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bumpless/appliance/api"
)

// console serves a device until the test ends.
func console(t *testing.T, device, role string, f *fakeDaemon) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		Serve(ctx, device, 115200, Identity{Site: "north", Host: "host-a", Role: role}, f, slog.New(slog.NewTextHandler(io.Discard, nil)))
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("Serve does not end with its context")
		}
	})
}

const prompt = "host-a> "

var times = regexp.MustCompile(` +\d+\.\d s  `)

func TestASessionLooksAsWrittenDown(t *testing.T) {
	p := newPTY(t)
	console(t, p.device, "OPERATOR", &fakeDaemon{plays: aDrain()})
	said := p.expect(prompt)
	for _, keys := range []string{"staX\b\x7f\x7f\x7f\x7fguests\r", "drian host-a\r", "\x1b[A\r", "drain host-a --reason 'new fans'\r", "wrong\x15move\r", "half\x03", "exit\r"} {
		p.enter(keys)
		said += p.expect(prompt)
	}
	if bad := regexp.MustCompile(`[^\r]\n`).FindString(said); bad != "" {
		t.Errorf("a line ends with %q; want CR LF", bad)
	}
	golden(t, "session.txt", times.ReplaceAllString(strings.ReplaceAll(strings.ReplaceAll(said, "\r\n", "\n"), "\b \b", "<"), "    T s  "))
}

func TestTheConsolesHelpNamesTheWaysOutToo(t *testing.T) {
	p := newPTY(t)
	console(t, p.device, "OPERATOR", &fakeDaemon{})
	p.expect(prompt)
	p.enter("help\r")
	said := p.expect(prompt)
	for _, want := range []string{"  help [TOPIC] ", "  exit "} {
		if !strings.Contains(said, want) {
			t.Errorf("help = %q; want %q in it", said, want)
		}
	}
}

func TestTheConsoleOrdersWithTheRoleOfTheSiteFile(t *testing.T) {
	p, f := newPTY(t), &fakeDaemon{plays: aDrain()}
	console(t, p.device, "OPERATOR", f)
	p.expect(prompt)
	p.enter("drain host-a --no-wait\r")
	p.expect(prompt)
	if want := `drain OPERATOR{"host":"host-a"}`; f.last() != want {
		t.Errorf("asked %q; want %q", f.last(), want)
	}
}

func TestAViewerAtTheConsoleMayLookAndNotOrder(t *testing.T) {
	p, f := newPTY(t), &fakeDaemon{}
	console(t, p.device, "VIEWER", f)
	p.expect(prompt)
	p.enter("guests\r")
	if said := p.expect(prompt); !strings.Contains(said, "main1") {
		t.Errorf("guests = %q; want the guests", said)
	}
	p.enter("drain host-a\r")
	if said := p.expect(prompt); !strings.Contains(said, "refused: console@host-a has the role VIEWER") {
		t.Errorf("drain = %q; want a refusal", said)
	}
	if f.last() != "status {}" {
		t.Errorf("asked %q; want nothing after the status", f.last())
	}
}

func TestCtrlCEndsTheFollowingAndNotTheMove(t *testing.T) {
	p, f := newPTY(t), &fakeDaemon{plays: aDrain()[:4], hold: true}
	console(t, p.device, "OPERATOR", f)
	p.expect(prompt)
	p.enter("drain host-a\r")
	p.expect("sending memory")
	p.enter("ignored ahead\r\x03")
	if said := p.expect(prompt); !strings.Contains(said, "^C\r\nno longer followed; the order stands, see `events`; `resume host-a` takes it back") {
		t.Errorf("after Ctrl-C = %q; want that the order stands", said)
	}
	p.enter("events --follow\r")
	p.expect("main1-4")
	p.enter("\x03")
	p.expect(prompt)
}

func TestWhatIsTypedAheadIsCarriedOutAfterwards(t *testing.T) {
	p := newPTY(t)
	console(t, p.device, "OPERATOR", &fakeDaemon{plays: aDrain()})
	p.expect(prompt)
	p.enter("drain host-a\rguests\rexplain\r")
	p.expect("can be switched off")
	p.expect("RUNS ON")
	p.expect("stays where it is")
	p.expect(prompt)
}

func TestAnOverlongLineIsNotCarriedOut(t *testing.T) {
	p, f := newPTY(t), &fakeDaemon{}
	console(t, p.device, "OPERATOR", f)
	p.expect(prompt)
	p.enter("drain host-a --no-wait --reason '" + strings.Repeat("x", 3*maxLine) + "'\r")
	if said := p.expect(prompt); !strings.Contains(said, "more than 512 characters and is not carried out") {
		t.Errorf("an overlong line = %q; want a refusal", said)
	}
	if f.last() != "" {
		t.Errorf("asked %q; want nothing", f.last())
	}
}

// Noise on the line, and a paste that is far too large, cost bounded memory and
// leave a session that works.
func TestGarbageLeavesAWorkingSession(t *testing.T) {
	p, f := newPTY(t), &fakeDaemon{}
	console(t, p.device, "OPERATOR", f)
	p.expect(prompt)
	noise := make([]byte, 64<<10)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		// No CR, LF, and no Ctrl-D that would be a session's end 250 times.
		if noise[i] = byte(r.Uint32()); noise[i] == '\r' || noise[i] == '\n' || noise[i] == ctrlD {
			noise[i] = 0
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 16 {
		p.enter(string(noise))
	}
	p.enter(strings.Repeat("guests\r", 20_000))
	p.enter("\x03\x15\r")
	time.Sleep(50 * time.Millisecond)
	p.enter("\x03explain\r")
	p.expect("main1: stays where it is")
	p.mu.Lock()
	p.heard.Reset()
	p.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("the heap grew by %d bytes; want less than 8 MiB", grown)
	}
	for _, asked := range f.all() {
		if asked != "status {}" && asked != "explain {}" {
			t.Errorf("noise asked %q", asked)
		}
	}
}

func TestAPortThatComesBackIsServedAgain(t *testing.T) {
	device := filepath.Join(t.TempDir(), "ttyS0")
	console(t, device, "OPERATOR", &fakeDaemon{})
	for range 2 {
		time.Sleep(50 * time.Millisecond) // absent for a while
		p := newPTY(t)
		if err := os.Symlink(p.device, device); err != nil {
			t.Fatal(err)
		}
		p.expect(prompt)
		p.enter("guests\r")
		p.expect("RUNS ON")
		if err := os.Remove(device); err != nil {
			t.Fatal(err)
		}
		p.unplug()
	}
}

// A port that nobody reads must not hold up the daemon's end.
func TestAFullPortDoesNotHoldUpTheEnd(t *testing.T) {
	port := stuckPort{make(chan struct{})}
	defer close(port.never)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() {
		done <- serveSession(ctx, port, Identity{Host: strings.Repeat("h", 64<<10)}, &fakeDaemon{})
	}()
	time.Sleep(20 * time.Millisecond)
	cancel()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("serveSession still writes")
	}
}

type stuckPort struct{ never chan struct{} }

func (s stuckPort) Write([]byte) (int, error) { <-s.never; return 0, io.ErrClosedPipe }
func (s stuckPort) Read([]byte) (int, error)  { time.Sleep(time.Millisecond); return 0, nil }

func TestThePortIsNeitherInheritedNorLocked(t *testing.T) {
	p := newPTY(t)
	console(t, p.device, "OPERATOR", &fakeDaemon{})
	p.expect(prompt)
	out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), p.device+"\n") {
		t.Errorf("a child has the port open:\n%s", out)
	}
	fd, err := unix.Open(p.device, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open the port once more: %v; a daemon that died would lock the next one out", err)
	}
	defer unix.Close(fd)
	exclusive, err := unix.IoctlGetInt(fd, unix.TIOCGEXCL)
	if err != nil || exclusive != 0 {
		t.Errorf("TIOCGEXCL = %d, %v; want 0", exclusive, err)
	}
}

func TestSplitPortWritesArriveWhole(t *testing.T) {
	var got []byte
	o := newOutbox(writerFunc(func(b []byte) (int, error) { n := min(len(b), 7); got = append(got, b[:n]...); return n, nil }))
	text := strings.Repeat("a line\n", 500)
	if n, err := o.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write() = %d, %v; want %d", n, err, len(text))
	}
	for len(o.queue) > 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	o.stop()
	<-o.done
	if want := strings.ReplaceAll(text, "\n", "\r\n"); string(got) != want {
		t.Errorf("the port got %d bytes; want %d with CR LF", len(got), len(want))
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var _ api.Backend = (*fakeDaemon)(nil)
