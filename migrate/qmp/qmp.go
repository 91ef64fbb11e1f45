// Package qmp is a client of QEMU's Machine Protocol (docs/interop/qmp-spec.rst)
// over a unix socket, with the passing of file descriptors that `getfd` needs.
package qmp

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// maxMessage bounds one message from QEMU.
const maxMessage = 4 << 20

// eventBacklog bounds events nobody reads; then the oldest are dropped.
const eventBacklog = 1024

// Error is QEMU's answer that it will not do something.
type Error struct {
	Command string
	Class   string `json:"class"`
	Desc    string `json:"desc"`
}

func (e *Error) Error() string { return fmt.Sprintf("QMP %s: %s", e.Command, e.Desc) }

// ErrClosed: the connection to QEMU is gone.
var ErrClosed = errors.New("the monitor connection is closed")

// Event is an asynchronous message.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
	At   time.Time       `json:"-"` // when it was read here
}

// Client is one connection. It is safe for concurrent use; commands are
// carried out one after the other.
type Client struct {
	conn *net.UnixConn
	// Events carries QEMU's events in order. It is closed with the connection.
	Events chan Event

	command sync.Mutex             // one command at a time
	name    string                 // of this connection, in the ids of its commands
	count   uint64                 // of commands; command is held
	awaited atomic.Pointer[string] // id of the command whose answer is due
	replies chan reply
	done    chan struct{}
	err     error // why the connection ended, once done is closed
}

type reply struct {
	ID     string          `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *Error          `json:"error"`
	Event
	Greeting json.RawMessage `json:"QMP"`
}

// Dial connects and negotiates the capabilities.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to QEMU's monitor: %w", err)
	}
	c := &Client{name: rand.Text(), conn: raw.(*net.UnixConn), Events: make(chan Event, eventBacklog), replies: make(chan reply, 1), done: make(chan struct{})}
	go c.read()
	select {
	case r := <-c.replies:
		if r.Greeting == nil {
			c.Close()
			return nil, fmt.Errorf("connect to QEMU's monitor %s: no QMP greeting", path)
		}
	case <-c.done:
		return nil, fmt.Errorf("connect to QEMU's monitor %s: %w", path, c.err)
	case <-ctx.Done():
		c.Close()
		return nil, fmt.Errorf("connect to QEMU's monitor %s (does another client hold it?): %w", path, ctx.Err())
	}
	if err := c.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// PeerPID is the process at the other end, which made the socket (SO_PEERCRED,
// unix(7)); 0 when the kernel does not say.
func (c *Client) PeerPID() (pid int) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return 0
	}
	if err := raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	}); err != nil {
		return 0
	}
	return pid
}

// Gone is closed when the connection has ended.
func (c *Client) Gone() <-chan struct{} { return c.done }

func (c *Client) read() {
	defer close(c.Events)
	defer close(c.done)
	defer c.conn.Close() // QEMU must not block in a write that nobody reads
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(make([]byte, 0, 64<<10), maxMessage)
	for lines.Scan() {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			c.err = fmt.Errorf("QMP: a message that is not JSON: %w", err)
			return
		}
		if r.Name == "" {
			if !c.isDue(r) {
				continue
			}
			select {
			case c.replies <- r:
			default: // a second one
			}
			continue
		}
		r.At = time.Now()
		c.keep(r.Event)
	}
	c.err = ErrClosed
	if err := lines.Err(); err != nil {
		c.err = fmt.Errorf("QMP: read a message: %w", c.gone(err))
	}
}

// isDue tells whether the reply is to the command that was sent last. A monitor
// may still answer what was asked over an earlier connection: QEMU does after a
// command that kept it from noticing that the client had gone. A reply without
// an id is to something that QEMU could not read.
func (c *Client) isDue(r reply) bool {
	due := c.awaited.Load()
	return r.Greeting != nil || due != nil && (r.ID == "" || r.ID == *due)
}

func (c *Client) keep(e Event) {
	for {
		select {
		case c.Events <- e:
			return
		default:
		}
		select {
		case <-c.Events:
		default:
		}
	}
}

// Execute runs a command; a non-nil result gets its return value. A command
// that ctx ends closes the connection: its answer could not be told from the
// next one's.
func (c *Client) Execute(ctx context.Context, command string, arguments, result any) error {
	return c.execute(ctx, command, arguments, result, -1)
}

// SendFD gives QEMU the file descriptor under the name.
func (c *Client) SendFD(ctx context.Context, name string, fd int) error {
	return c.execute(ctx, "getfd", map[string]string{"fdname": name}, nil, fd)
}

func (c *Client) execute(ctx context.Context, command string, arguments, result any, fd int) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	c.command.Lock()
	defer c.command.Unlock()
	c.count++
	id := fmt.Sprintf("%s-%d", c.name, c.count)
	request["id"] = id
	b, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("QMP %s: %w", command, err)
	}
	c.awaited.Store(&id)
	defer c.awaited.Store(nil)
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	deadline, _ := ctx.Deadline() // none: the zero time, which is no deadline either
	if err := c.conn.SetWriteDeadline(deadline); err != nil {
		return fmt.Errorf("QMP %s: %w", command, c.gone(err))
	}
	b = append(b, '\n')
	n, _, err := c.conn.WriteMsgUnix(b, rights, nil)
	if err == nil && n < len(b) { // a full socket takes a part
		_, err = c.conn.Write(b[n:])
	}
	if err != nil {
		c.Close() // half a command may have been written
		return fmt.Errorf("QMP %s: %w", command, c.gone(err))
	}
	select {
	case r := <-c.replies:
		return r.into(command, result)
	case <-c.done:
		select {
		case r := <-c.replies: // QEMU answered, and then went
			return r.into(command, result)
		default:
		}
		return fmt.Errorf("QMP %s: %w", command, c.err)
	case <-ctx.Done():
		c.Close()
		return fmt.Errorf("QMP %s: no answer: %w", command, ctx.Err())
	}
}

// gone is ErrClosed for an error that says only that.
func (c *Client) gone(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return ErrClosed
	}
	return err
}

func (r reply) into(command string, result any) error {
	if r.Error != nil {
		r.Error.Command = command
		return r.Error
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(r.Return, result); err != nil {
		return fmt.Errorf("QMP %s: unexpected answer: %w", command, err)
	}
	return nil
}

// Close ends the connection. The guest is not touched.
func (c *Client) Close() error { return c.conn.Close() }
