package console

import (
	"context"
	"fmt"
	"io"
	"time"

	"bumpless/appliance/api"
)

// maxAhead bounds what may be typed while a command runs, in bytes.
const maxAhead = 4096

// Identity of the console: where it is, and what whoever sits at it may do.
type Identity struct {
	Site, Host string
	Role       string // of IEC 62351-8
}

// session is one person at the port, until the port is gone.
type session struct {
	id      Identity
	backend api.Backend
	out     *outbox
	edit    editor
	echoed  []byte // not sent yet: one chunk for one read

	// Of the command that runs, nil when none does.
	stop context.CancelFunc
	done chan struct{}
	// ahead was typed meanwhile.
	ahead []byte
}

// serveSession talks over the port until it fails or ctx ends. The port's Read
// must return (0, nil) now and then.
func serveSession(ctx context.Context, port io.ReadWriter, id Identity, backend api.Backend) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{id: id, backend: backend, out: newOutbox(port)}
	// Whoever waits for room in the outbox waits no longer than ctx.
	context.AfterFunc(ctx, s.out.stop)
	input, failed := readPort(ctx, port)
	defer func() {
		cancel()
		s.finishCommand()
		<-failed.gone
		awaitWriter(s.out)
	}()
	s.greet()
	for {
		select {
		case b := <-input:
			s.take(ctx, b)
		case <-s.done:
			s.finishCommand()
			s.prompt()
			ahead := s.ahead
			s.ahead = nil
			s.take(ctx, ahead)
		case <-failed.gone:
			return failed.err
		case <-s.out.ended:
			return io.ErrClosedPipe
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// writerGrace: a write that the port never takes cannot be called back; it is
// given that long before the port is given up.
const writerGrace = time.Second

func awaitWriter(o *outbox) {
	select {
	case <-o.done:
	case <-time.After(writerGrace):
	}
}

// reading is the port's reader; err is valid once gone is closed.
type reading struct {
	gone chan struct{}
	err  error
}

func readPort(ctx context.Context, port io.Reader) (<-chan []byte, *reading) {
	input, r := make(chan []byte), &reading{gone: make(chan struct{})}
	go func() {
		defer close(r.gone)
		buffer := make([]byte, 256)
		for ctx.Err() == nil {
			n, err := port.Read(buffer)
			if n > 0 {
				select {
				case input <- append([]byte(nil), buffer[:n]...):
				case <-ctx.Done():
				}
			}
			if err != nil {
				r.err = err
				return
			}
		}
		r.err = ctx.Err()
	}()
	return input, r
}

func (s *session) greet() {
	s.say("\nBumpless, site %s, host %s. You act as %s; `help` lists the commands.\n", s.id.Site, s.id.Host, s.id.Role)
	s.prompt()
}

func (s *session) prompt() { s.say("%s> ", s.id.Host) }

// say gives up silently when the port is gone: the loop sees that too.
func (s *session) say(format string, args ...any) {
	s.sendEcho()
	_, _ = fmt.Fprintf(s.out, format, args...)
}

func (s *session) sendEcho() {
	s.out.echo(s.echoed)
	s.echoed = s.echoed[:0]
}

// take handles bytes from the port.
func (s *session) take(ctx context.Context, input []byte) {
	defer s.sendEcho()
	for i, b := range input {
		if s.stop != nil {
			s.takeAhead(input[i:])
			return
		}
		s.key(ctx, b)
	}
}

// takeAhead keeps what is typed while a command runs. Ctrl-C ends the command
// and forgets what was typed ahead.
func (s *session) takeAhead(input []byte) {
	for _, b := range input {
		if b == ctrlC {
			s.stop()
			s.out.drop()
			s.out.echo([]byte("^C\r\n"))
			s.ahead, s.edit = nil, editor{}
			continue
		}
		if len(s.ahead) == maxAhead {
			// The rest of the line that was cut must not be taken for a command.
			s.ahead, s.edit.damage = nil, "the end of more than was taken while a command ran"
			s.out.echo([]byte{bell})
		}
		s.ahead = append(s.ahead, b)
	}
}

func (s *session) key(ctx context.Context, b byte) {
	stroke, echo := s.edit.put(b)
	s.echoed = append(s.echoed, echo...)
	switch stroke {
	case enter:
		line, err := s.edit.take()
		s.run(ctx, line, err)
	case cancel:
		s.prompt()
	case finish:
		s.reset()
	case typed:
	}
}

// reset begins a new session, for the next person.
func (s *session) reset() {
	s.edit = editor{}
	s.say("bye\n\n")
	s.greet()
}

// run begins a command; the loop sees its end.
func (s *session) run(ctx context.Context, line string, err error) {
	var words []string
	if err == nil {
		words, err = split(line)
	}
	switch {
	case err != nil:
		s.say("%s\n", err)
		s.prompt()
		return
	case len(words) == 0:
		s.prompt()
		return
	case words[0] == "exit" || words[0] == "logout":
		s.reset()
		return
	}
	s.sendEcho()
	ctx, s.stop = context.WithCancel(ctx)
	s.done = make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		runLine(ctx, s.backend, s.out, words)
	}(s.done)
}

// finishCommand waits for the command that runs, if one does.
func (s *session) finishCommand() {
	if s.stop == nil {
		return
	}
	s.stop()
	<-s.done
	s.stop, s.done = nil, nil
}

// runLine runs one command of the grammar against a backend.
func runLine(ctx context.Context, backend api.Backend, out io.Writer, words []string) int {
	screen := &Screen{Out: untilCancelled{ctx, out}, Now: time.Now}
	v := &verbs{screen: screen, open: func() (api.Backend, error) { return backend, nil }}
	return v.execute(ctx, v.root("the operator's console of a Bumpless host"), words, &Screen{Out: out, Now: time.Now})
}

// untilCancelled drops what a cancelled command still writes.
type untilCancelled struct {
	ctx context.Context
	out io.Writer
}

func (u untilCancelled) Write(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return len(p), nil
	}
	return u.out.Write(p)
}
