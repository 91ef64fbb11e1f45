package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Holder is a host's holder as the daemon sees it.
type Holder struct {
	Socket  string // in the run directory, at most 107 bytes
	Device  string // path of the watchdog
	Timeout time.Duration
	// Start starts the holder's process, which must outlive this one. It need
	// not wait for it.
	Start func() error
}

// Bounds of asking. A holder that was just started took 10 ms; one that does
// not answer is not waited for longer than a pet may be late.
const (
	holderStart  = 2 * time.Second
	holderAnswer = 2 * time.Second
	holderPoll   = 5 * time.Millisecond
)

// Open asks the holder for the device, and starts one where none answers. The
// first Open of a boot arms the watchdog; it is refused once CLOCK_BOOTTIME has
// passed notAfter (0: no limit). idle says that no guest runs on this host, so
// that a device that cannot be used may be disarmed again.
func (h Holder) Open(notAfter time.Duration, idle bool) (*Watchdog, error) {
	c, err := h.dial()
	if err != nil {
		return nil, fmt.Errorf("watchdog %s: reach its holder: %w", h.Device, err)
	}
	defer c.Close()
	if err := sameUser(c); err != nil {
		return nil, fmt.Errorf("watchdog %s: its holder at %s is not ours: %w", h.Device, h.Socket, err)
	}
	file, err := h.ask(c, request{Version: holderVersion, Device: h.Device, TimeoutMs: h.Timeout.Milliseconds(), NotAfterNs: int64(notAfter), Idle: idle})
	if err != nil {
		return nil, err
	}
	return &Watchdog{file}, nil
}

// dial connects to the holder, or starts one and waits until it listens.
func (h Holder) dial() (*net.UnixConn, error) {
	started := false
	for end := time.Now().Add(holderStart); ; time.Sleep(holderPoll) {
		c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: h.Socket, Net: "unixpacket"})
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
			return nil, err
		}
		if !started {
			if err := h.Start(); err != nil {
				return nil, fmt.Errorf("start it: %w", err)
			}
			started = true
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("it was started and does not listen after %v: %w", holderStart, err)
		}
	}
}

func (h Holder) ask(c *net.UnixConn, r request) (*os.File, error) {
	fail := func(err error) (*os.File, error) {
		return nil, fmt.Errorf("watchdog %s: ask its holder: %w", h.Device, err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		return fail(err)
	}
	if err := c.SetDeadline(time.Now().Add(holderAnswer)); err != nil {
		return fail(err)
	}
	if _, err := c.Write(b); err != nil {
		return fail(err)
	}
	packet, oob := make([]byte, maxMessage), make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := c.ReadMsgUnix(packet, oob)
	if err != nil {
		return fail(err)
	}
	file, err := descriptor(oob[:oobn], h.Device)
	if err != nil {
		return fail(err)
	}
	var a reply
	switch err := json.Unmarshal(packet[:n], &a); {
	case err != nil:
		err = fmt.Errorf("its answer is not understood: %w", err)
		return fail(errors.Join(err, closeFile(file)))
	case a.Error != "":
		return nil, errors.Join(errors.New(a.Error), closeFile(file))
	case file == nil:
		return fail(errors.New("its answer carries no descriptor"))
	}
	return file, nil
}

// descriptor takes the one file out of control messages; nil when there is none.
func descriptor(oob []byte, name string) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, fmt.Errorf("%d control messages, want one", len(messages))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	if len(fds) != 1 { // there is room for one: the kernel has dropped others
		return nil, fmt.Errorf("%d descriptors, want one", len(fds))
	}
	return os.NewFile(uintptr(fds[0]), name), nil
}

func closeFile(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
