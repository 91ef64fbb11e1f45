package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}}, "capabilities": ["oob"]}}`

// hello is how every session begins.
const hello = `
<- ` + greeting + `
-> {"execute":"qmp_capabilities"}
<- {"return": {}}
`

// monitor plays one session of QEMU's monitor from a transcript:
//
//	-> what the client must send       <- what QEMU sends (a reply gets the id of what was sent last)
//	.. nothing: wait for the end of the test      x close the connection
func monitor(t *testing.T, transcript string) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "qmp") // short: a socket's path has 108 bytes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", dir+"/s")
	must(t, err)
	ended, over := make(chan error, 1), make(chan struct{})
	go func() { ended <- play(l, transcript, over) }()
	t.Cleanup(func() {
		close(over)
		l.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return dir + "/s"
}

func play(l net.Listener, transcript string, over chan struct{}) error {
	c, err := l.Accept()
	if err != nil {
		return nil // the client never came: its test says so
	}
	defer c.Close()
	in, id := bufio.NewReader(c), ""
	for _, line := range strings.Split(strings.TrimSpace(transcript), "\n") {
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "<-":
			if body, reply := strings.CutPrefix(rest, "{"); reply && id != "" && !strings.Contains(rest, `"id"`) && !strings.Contains(rest, `"event"`) {
				rest = fmt.Sprintf(`{"id": %q, %s`, id, body)
			}
			if _, err := fmt.Fprintln(c, rest); err != nil {
				return nil // the client had enough
			}
		case "->":
			got, err := in.ReadString('\n')
			got, id = withoutID(got, id)
			if err != nil || strings.TrimSpace(got) != rest {
				return fmt.Errorf("the client sent %q, %v; want %q", got, err, rest)
			}
		case "x":
			return nil
		case "..":
			<-over
		}
	}
	<-over
	return nil
}

// withoutID takes the id out of a command; one that is not whole has none.
func withoutID(line, before string) (rest, id string) {
	var c map[string]any
	if json.Unmarshal([]byte(line), &c) != nil || c["id"] == nil {
		return line, before
	}
	id = c["id"].(string)
	delete(c, "id")
	b, err := json.Marshal(c)
	if err != nil {
		return line, before
	}
	return string(b), id
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, transcript string) *Client {
	t.Helper()
	c, err := Dial(within(t, 10*time.Second), monitor(t, transcript))
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// Seen on QEMU 10.0.2: a `stop` that ran into its deadline while the disk was
// drained was answered over the next connection, and every answer there was
// then taken for that of the command before: a guest that had long gone on was
// thought to be paused, for seconds.
func TestAnAnswerToAnEarlierConnectionsCommandIsNoAnswer(t *testing.T) {
	c := dial(t, `
<- `+greeting+`
<- {"return": {}, "id": "EARLIER-7"}
-> {"execute":"qmp_capabilities"}
<- {"return": {}}
<- {"error": {"class": "GenericError", "desc": "late"}, "id": "EARLIER-8"}
-> {"execute":"query-status"}
<- {"return": {}, "id": "EARLIER-9"}
<- {"return": {"status": "running"}}
-> {"execute":"stop"}
<- {"return": {}}
`)
	var answer struct{ Status string }
	if err := c.Execute(within(t, 10*time.Second), "query-status", nil, &answer); err != nil || answer.Status != "running" {
		t.Errorf("query-status = %+v, %v; want running", answer, err)
	}
	must(t, c.Execute(within(t, 10*time.Second), "stop", nil, nil))
}

func TestCommandsEventsAndRefusals(t *testing.T) {
	c := dial(t, hello+`
<- {"event": "RESUME", "timestamp": {"seconds": 1, "microseconds": 2}}
-> {"execute":"query-status"}
<- {"event": "MIGRATION", "data": {"status": "setup"}}
<- {"return": {"status": "running", "running": true}}
<- {"event": "STOP"}
-> {"arguments":{"uri":"fd:x"},"execute":"migrate"}
<- {"error": {"class": "GenericError", "desc": "No file descriptor named x"}}
-> {"execute":"stop"}
<- {"return": {}}
`)
	ctx := within(t, 10*time.Second)
	var status struct{ Status string }
	if err := c.Execute(ctx, "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("query-status = %q, %v; want running", status.Status, err)
	}
	err := c.Execute(ctx, "migrate", map[string]string{"uri": "fd:x"}, nil)
	var refused *Error
	if !errors.As(err, &refused) || refused.Command != "migrate" || err.Error() != "QMP migrate: No file descriptor named x" {
		t.Errorf("migrate = %v; want QEMU's refusal", err)
	}
	if err := c.Execute(ctx, "stop", nil, nil); err != nil {
		t.Errorf("stop after a refusal = %v; want nil", err)
	}
	for _, want := range []string{"RESUME", "MIGRATION", "STOP"} {
		if e := <-c.Events; e.Name != want || e.At.IsZero() {
			t.Errorf("event %q at %v; want %s with its time", e.Name, e.At, want)
		}
	}
}

func TestDialRefusesWhatIsNoMonitor(t *testing.T) {
	for name, transcript := range map[string]string{
		"another protocol":   "<- 220 mail.example ESMTP",
		"no greeting":        `<- {"return": {}}`,
		"closed at once":     "x",
		"no capabilities":    "<- " + greeting + "\n" + `-> {"execute":"qmp_capabilities"}` + "\n" + `<- {"error": {"class": "GenericError", "desc": "no"}}`,
		"closed after hello": "<- " + greeting + "\nx",
	} {
		if c, err := Dial(within(t, 10*time.Second), monitor(t, transcript)); err == nil {
			c.Close()
			t.Errorf("%s: Dial() = nil; want an error", name)
		}
	}
	if _, err := Dial(within(t, time.Second), "/nonexistent"); err == nil {
		t.Error("Dial() of nothing = nil; want an error")
	}
}

// QEMU serves one client of a monitor: the next one gets no greeting.
func TestDialGivesUpOnAMonitorThatIsTaken(t *testing.T) {
	_, err := Dial(within(t, 50*time.Millisecond), monitor(t, ".."))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another client") {
		t.Errorf("Dial() = %v; want the deadline, and what may be wrong", err)
	}
}

func TestACommandWithoutAnAnswerEndsWithItsContext(t *testing.T) {
	c := dial(t, hello+`-> {"execute":"stop"}`)
	begun := time.Now()
	err := c.Execute(within(t, 50*time.Millisecond), "stop", nil, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 5*time.Second {
		t.Errorf("stop = %v after %v; want the deadline", err, time.Since(begun))
	}
	// Its late answer could be taken for the next command's.
	if err := c.Execute(within(t, time.Second), "cont", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("the next command = %v; want ErrClosed", err)
	}
}

func TestAMonitorThatDoesNotReadIsNotWaitedFor(t *testing.T) {
	c := dial(t, hello+"..")
	ctx := within(t, 200*time.Millisecond)
	huge := strings.Repeat("x", 8<<20) // more than the socket's buffer
	begun := time.Now()
	err := c.Execute(ctx, "migrate", map[string]string{"uri": huge}, nil)
	if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) > 5*time.Second {
		t.Errorf("a command that is not read = %v after %v; want the deadline", err, time.Since(begun))
	}
}

func TestAnAnswerCountsAlthoughQEMUIsGoneThen(t *testing.T) {
	for range 50 { // the answer and the end are seen at about the same time
		c := dial(t, hello+"-> {\"execute\":\"quit\"}\n<- {\"return\": {}}\nx")
		if err := c.Execute(within(t, 10*time.Second), "quit", nil, nil); err != nil {
			t.Fatalf("quit = %v; want nil", err)
		}
	}
}

func TestTheEndOfQEMUIsSeen(t *testing.T) {
	c := dial(t, hello+"-> {\"execute\":\"stop\"}\nx")
	if err := c.Execute(within(t, 10*time.Second), "stop", nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("stop = %v; want ErrClosed", err)
	}
	if _, open := <-c.Events; open {
		t.Error("Events is open after the end of QEMU")
	}
}

func TestOversizedAndGarbledMessagesEndTheSession(t *testing.T) {
	long := `{"return": "` + strings.Repeat("x", maxMessage) + `"}`
	for name, line := range map[string]string{"oversized": long, "garbled": "{nonsense"} {
		c := dial(t, hello+"-> {\"execute\":\"stop\"}\n<- "+line)
		if err := c.Execute(within(t, 10*time.Second), "stop", nil, nil); err == nil || errors.Is(err, ErrClosed) {
			t.Errorf("%s: stop = %v; want an error that says what came", name, err)
		}
		if err := c.Execute(within(t, 10*time.Second), "cont", nil, nil); err == nil {
			t.Errorf("%s: the next command = nil; want an error", name)
		}
	}
}

func TestEventsThatNobodyReadsPushOutTheOldest(t *testing.T) {
	var b strings.Builder
	for i := range eventBacklog + 10 {
		fmt.Fprintf(&b, "<- {\"event\": \"E%d\"}\n", i)
	}
	c := dial(t, hello+b.String()+"-> {\"execute\":\"stop\"}\n<- {\"return\": {}}")
	must(t, c.Execute(within(t, 10*time.Second), "stop", nil, nil))
	if e := <-c.Events; e.Name != "E10" {
		t.Errorf("the oldest event that was kept is %s; want E10", e.Name)
	}
}

func TestAFileDescriptorGoesWithItsCommand(t *testing.T) {
	dir, err := os.MkdirTemp("", "qmp")
	must(t, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", dir+"/s")
	must(t, err)
	defer l.Close()
	type request struct {
		text string
		fds  int
		err  error
	}
	got := make(chan request, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- request{err: err}
			return
		}
		defer c.Close()
		fmt.Fprintln(c, greeting)
		u, buffer, rights := c.(*net.UnixConn), make([]byte, 4096), make([]byte, 128)
		_, _ = u.Read(buffer) // qmp_capabilities
		fmt.Fprintln(c, `{"return": {}}`)
		n, r, _, _, err := u.ReadMsgUnix(buffer, rights)
		messages, perr := unix.ParseSocketControlMessage(rights[:r])
		if err = errors.Join(err, perr); err != nil || len(messages) != 1 {
			got <- request{err: fmt.Errorf("%d messages, %w", len(messages), err)}
			return
		}
		fds, err := unix.ParseUnixRights(&messages[0])
		for _, fd := range fds {
			unix.Close(fd)
		}
		got <- request{string(buffer[:n]), len(fds), err}
		fmt.Fprintln(c, `{"return": {}}`)
	}()
	ctx := within(t, 10*time.Second)
	c, err := Dial(ctx, dir+"/s")
	must(t, err)
	defer c.Close()
	must(t, c.SendFD(ctx, "bumpless", 0))
	r := <-got
	must(t, r.err)
	var command struct {
		Execute   string
		Arguments map[string]string
	}
	must(t, json.Unmarshal([]byte(r.text), &command))
	if r.fds != 1 || command.Execute != "getfd" || command.Arguments["fdname"] != "bumpless" {
		t.Errorf("%d descriptors with %q; want 1 with getfd", r.fds, r.text)
	}
}
