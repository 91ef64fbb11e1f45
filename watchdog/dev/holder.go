package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// holderVersion of request and reply. The holder outlives updates of the
// daemon: a later daemon must still speak version 1.
const holderVersion = 1

// Bounds of a conversation with the holder.
const (
	maxMessage   = 4096
	holderPeerIO = time.Second
)

// request for a descriptor, one packet of JSON.
type request struct {
	Version   int    `json:"version"`
	Device    string `json:"device"`
	TimeoutMs int64  `json:"timeout_ms"`
	// NotAfterNs of CLOCK_BOOTTIME: the right to pet ends then; 0: no limit.
	NotAfterNs int64 `json:"not_after_ns"`
	// Idle: no guest runs on this host, so that what is refused may be disarmed.
	Idle bool `json:"idle"`
}

// reply to it. With Error "" the packet carries the descriptor.
type reply struct {
	Version int    `json:"version"`
	Error   string `json:"error,omitempty"`
}

// holder keeps the device's one open file description.
type holder struct {
	device string
	sys    string
	now    func() time.Duration
	driver func(*os.File) driver
	file   *os.File // nil until it was asked for
}

// Hold is the holder's whole life. It returns at once, without an error, when
// this socket has a holder already.
//
// It takes no notice of the signals that end a host's services: as long as
// guests may run here the device stays open. It ends with the host.
func Hold(socket, device string) error {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	// Without the right to it the kernel chooses as it likes.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	h := &holder{device: device, sys: "/sys", now: sinceBoot, driver: func(f *os.File) driver { return linux{int(f.Fd())} }}
	return h.listen(socket)
}

// listen serves the socket, one conversation after the other.
func (h *holder) listen(socket string) error {
	lock, err := os.OpenFile(socket+".lock", os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("hold the watchdog: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil // there is a holder
		}
		return fmt.Errorf("hold the watchdog: lock %s: %w", lock.Name(), err)
	}
	// With the lock in hand: a socket that is there is a dead holder's.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("hold the watchdog: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return fmt.Errorf("hold the watchdog: %w", err)
	}
	defer l.Close()
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return fmt.Errorf("hold the watchdog: %w", err)
		}
		h.serve(c)
	}
}

func (h *holder) serve(c *net.UnixConn) {
	defer c.Close()
	if sameUser(c) != nil || c.SetDeadline(time.Now().Add(holderPeerIO)) != nil {
		return
	}
	file, err := h.read(c)
	answer, oob := reply{Version: holderVersion}, []byte(nil)
	if err != nil {
		answer.Error = err.Error()
	} else {
		oob = unix.UnixRights(int(file.Fd()))
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return // cannot be: a number and a string
	}
	_, _, _ = c.WriteMsgUnix(b, oob, nil) // who went away asks again
}

func (h *holder) read(c *net.UnixConn) (*os.File, error) {
	packet := make([]byte, maxMessage)
	n, err := c.Read(packet)
	if err != nil {
		return nil, err
	}
	var r request
	if err := json.Unmarshal(packet[:n], &r); err != nil {
		return nil, fmt.Errorf("the request of %d bytes is not understood: %w", n, err)
	}
	return h.hand(r)
}

// hand returns the device, armed. It opens it when it is the first to ask.
func (h *holder) hand(r request) (*os.File, error) {
	attributes := attributesOf(h.sys, h.device)
	switch {
	case r.Version != holderVersion:
		return nil, fmt.Errorf("request of version %d, the holder understands %d", r.Version, holderVersion)
	case r.Device != h.device:
		return nil, fmt.Errorf("watchdog %s: the holder of this boot keeps %s: drain and reboot this host, so that the other device is used", r.Device, h.device)
	case r.TimeoutMs < 1 || r.TimeoutMs > time.Hour.Milliseconds():
		return nil, fmt.Errorf("watchdog %s: a timeout of %d ms, want 1 ms to 1 h", r.Device, r.TimeoutMs)
	}
	if h.file == nil {
		if err := attributes.checkUnopened(h.device); err != nil {
			return nil, err
		}
	}
	// The clock last: what follows may pet.
	if r.NotAfterNs != 0 && h.now() > time.Duration(r.NotAfterNs) {
		return nil, fmt.Errorf("watchdog %s: not opened: the right to run guests has ended meanwhile", h.device)
	}
	if err := h.open(); err != nil {
		return nil, err
	}
	err := attributes.ready(h.device, h.driver(h.file), time.Duration(r.TimeoutMs)*time.Millisecond)
	if err != nil {
		if r.Idle {
			err = errors.Join(err, h.giveUp())
		}
		return nil, err
	}
	return h.file, nil
}

func (h *holder) open() (err error) {
	if h.file != nil {
		return nil
	}
	h.file, err = os.OpenFile(h.device, os.O_WRONLY, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("watchdog %s: %w: another program pets it; take it away from it (systemd: RuntimeWatchdogSec=off)", h.device, err)
	}
	if err != nil {
		return fmt.Errorf("watchdog %s: %w: is its driver loaded?", h.device, err)
	}
	return nil
}

// giveUp disarms a device that cannot be used, on a host without guests:
// otherwise the host would be reset again and again.
func (h *holder) giveUp() error {
	err := h.driver(h.file).setOptions(unix.WDIOS_DISABLECARD)
	if notThere(err) {
		err = nil // to close it is the other way, where magic close is not needed
	}
	if err != nil {
		err = fmt.Errorf("watchdog %s stays armed, this host will be reset: %w", h.device, err)
	}
	err = errors.Join(err, h.file.Close())
	h.file = nil
	return err
}

// sameUser refuses a peer of another user: who has the device decides whether
// this host lives.
func sameUser(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var perr error
	if err := raw.Control(func(fd uintptr) { peer, perr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return err
	}
	if perr != nil {
		return perr
	}
	if int(peer.Uid) != os.Geteuid() {
		return fmt.Errorf("the other end is user %d, not %d", peer.Uid, os.Geteuid())
	}
	return nil
}

// sinceBoot is the clock of request.NotAfterNs.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock_gettime(CLOCK_BOOTTIME): " + err.Error()) // exists since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}
