package dev

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The device of these tests is a regular file: its offset belongs to the open
// file description, so that it tells whether two processes share one, and how
// often it was petted.

// role in the environment makes the test binary a holder or a daemon.
const role = "BUMPLESS_DEV_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "holder":
		if err := newTestHolder(os.Args[2], &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 60}).listen(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	case "daemon":
		testDaemon(os.Args[1], os.Args[2])
	}
	os.Exit(m.Run())
}

// testDaemon pets three times, says so, and hangs until it is killed.
func testDaemon(socket, device string) {
	w, err := testClient(socket, device).Open(0, true)
	for i := 0; err == nil && i < 3; i++ {
		err = w.Pet()
	}
	fmt.Println("petted", err)
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
	os.Exit(1)
}

func newTestHolder(device string, d *fakeDriver) *holder {
	return &holder{device: device, sys: "/nonexistent", now: sinceBoot, driver: func(*os.File) driver { return d }}
}

// fakeDriver is the ioctl side of a watchdog.
type fakeDriver struct {
	mu      sync.Mutex
	flags   uint32
	seconds int
	fixed   bool  // takes no other timeout
	stop    error // of disarming
	calls   []string
}

func (d *fakeDriver) call(format string, args ...any) {
	d.mu.Lock()
	d.calls = append(d.calls, fmt.Sprintf(format, args...))
	d.mu.Unlock()
}

func (d *fakeDriver) options() (uint32, error) { return d.flags, nil }
func (d *fakeDriver) timeout() (int, error)    { return d.seconds, nil }

func (d *fakeDriver) setTimeout(seconds int) error {
	d.call("timeout %d", seconds)
	if d.fixed {
		return unix.EOPNOTSUPP
	}
	d.seconds = seconds
	return nil
}

func (d *fakeDriver) setOptions(bits int) error {
	if bits == unix.WDIOS_DISABLECARD {
		d.call("disarm")
		return d.stop
	}
	return nil
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "wd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func newDevice(t *testing.T, dir string) string {
	path := filepath.Join(dir, "device")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func ask(device string) request {
	return request{Version: holderVersion, Device: device, TimeoutMs: 4000}
}

func testClient(socket, device string) Holder {
	return Holder{Socket: socket, Device: device, Timeout: 4 * time.Second, Start: func() error {
		c := exec.Command("/proc/self/exe", socket, device)
		c.Env = append(os.Environ(), role+"=holder")
		c.Stderr = os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return c.Start()
	}}
}

// holderPID asks the kernel who listens at the socket.
func holderPID(t *testing.T, socket string) int {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal("no holder is left: ", err)
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	}); err != nil || pid == 0 {
		t.Fatal("the holder has no process id: ", err)
	}
	return pid
}

func offset(t *testing.T, w *Watchdog) int64 {
	n, err := w.file.Seek(0, io.SeekCurrent)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheNextDaemonGetsTheDescriptionOfTheOneThatWasKilled(t *testing.T) {
	dir := shortDir(t)
	socket, device := filepath.Join(dir, "s"), newDevice(t, dir)
	daemon := exec.Command("/proc/self/exe", socket, device)
	daemon.Env = append(os.Environ(), role+"=daemon")
	daemon.Stderr = os.Stderr
	in, err := daemon.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "petted <nil>\n" {
		t.Fatalf("the daemon says %q, %v", line, err)
	}
	holder := holderPID(t, socket)
	defer func() {
		if err := syscall.Kill(holder, syscall.SIGKILL); err != nil {
			t.Error("end the holder: ", err)
		}
	}()
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait() // killed

	next := testClient(socket, device)
	next.Start = func() error { return errors.New("a second holder is started") }
	w, err := next.Open(0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if n := offset(t, w); n != 3 {
		t.Errorf("offset of the next daemon's descriptor = %d; want 3, the pets of the one before", n)
	}
	if again := holderPID(t, socket); again != holder {
		t.Errorf("the holder is process %d, was %d; want the same", again, holder)
	}
}

func TestTheDeviceIsOpenedOnceAndOnlyWhenItIsAskedFor(t *testing.T) {
	device := newDevice(t, shortDir(t))
	h := newTestHolder(device, &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 4})
	if h.file != nil {
		t.Fatal("a holder that nobody has asked has opened the device")
	}
	first, err := h.hand(ask(device))
	if err != nil {
		t.Fatal(err)
	}
	second, err := h.hand(ask(device))
	if err != nil || second != first {
		t.Errorf("second hand() = %v, %v; want the file of the first", second, err)
	}
	if err := h.file.Close(); err != nil {
		t.Error(err)
	}
}

func TestADeviceIsNotOpenedOnceTheRightToPetHasEnded(t *testing.T) {
	device := newDevice(t, shortDir(t))
	d := &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 60}
	h := newTestHolder(device, d)
	h.now = func() time.Duration { return 10 * time.Second }
	r := ask(device)
	r.NotAfterNs = int64(9 * time.Second)
	if _, err := h.hand(r); err == nil || h.file != nil || len(d.calls) > 0 {
		t.Errorf("hand(ended a second ago) = %v, file %v, calls %v; want an error and nothing touched", err, h.file, d.calls)
	}
	r.NotAfterNs = int64(11 * time.Second)
	if _, err := h.hand(r); err != nil {
		t.Errorf("hand(ends in a second) = %v", err)
	}
}

func TestAnEqualTimeoutIsNotSetAgainSinceThatPets(t *testing.T) {
	device := newDevice(t, shortDir(t))
	d := &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 60}
	h := newTestHolder(device, d)
	for range 2 {
		if _, err := h.hand(ask(device)); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.calls) != 1 || d.calls[0] != "timeout 4" {
		t.Errorf("calls = %v; want [timeout 4]", d.calls)
	}
}

func TestDriversThatCannotFenceAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		driver *fakeDriver
		sysfs  map[string]string
		want   string // "" for taken
	}{
		{"magic close", &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 4}, nil, ""},
		{"no magic close", &fakeDriver{seconds: 4}, nil, "nowayout=1"},
		{"no magic close, nowayout off", &fakeDriver{seconds: 4}, map[string]string{"nowayout": "0\n"}, "nowayout=1"},
		{"no magic close, nowayout", &fakeDriver{seconds: 4}, map[string]string{"nowayout": "1\n"}, ""},
		{"longer timeout than the site's", &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 60, fixed: true}, nil, "raise it to 60000 on every host"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := sysfs(t, c.sysfs).ready("/dev/watchdog", c.driver, 4*time.Second)
			if c.want == "" && err != nil {
				t.Errorf("ready() = %v; want nil", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("ready() = %v; want an error with %q", err, c.want)
			}
		})
	}
}

func TestATimeoutOfPartsOfASecondIsRoundedUpAndRefused(t *testing.T) {
	d := &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 60}
	err := attributes{}.ready("/dev/watchdog", d, 4500*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "raise it to 5000") || d.seconds != 5 {
		t.Errorf("ready(4.5 s) = %v with %d s; want it refused with 5 s", err, d.seconds)
	}
}

func sysfs(t *testing.T, files map[string]string) attributes {
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return attributes{dir}
}

func TestAKernelThatTellsLetsADriverBeRefusedUnopened(t *testing.T) {
	for _, c := range []struct {
		files   map[string]string
		refused bool
	}{
		{map[string]string{"options": "0x8180\n", "nowayout": "0\n"}, false}, // magic close
		{map[string]string{"options": "0x8080\n", "nowayout": "0\n"}, true},
		{map[string]string{"options": "0x8080\n", "nowayout": "1\n"}, false},
		{map[string]string{"nowayout": "0\n"}, false}, // before Linux 6.4: only opening tells
	} {
		if err := sysfs(t, c.files).checkUnopened("/dev/watchdog"); (err != nil) != c.refused {
			t.Errorf("checkUnopened(%v) = %v; want refused: %v", c.files, err, c.refused)
		}
	}
}

func TestARefusedDeviceIsDisarmedOnlyWhereNoGuestRuns(t *testing.T) {
	for _, idle := range []bool{true, false} {
		device := newDevice(t, shortDir(t))
		d := &fakeDriver{seconds: 4}
		h := newTestHolder(device, d)
		r := ask(device)
		r.Idle = idle
		if _, err := h.hand(r); err == nil {
			t.Fatal("a driver without magic close is taken")
		}
		disarmed := h.file == nil && len(d.calls) == 1 && d.calls[0] == "disarm"
		if disarmed != idle {
			t.Errorf("idle %v: file %v, calls %v; want disarmed and closed: %v", idle, h.file, d.calls, idle)
		}
	}
}

func TestADeviceThatCannotBeDisarmedIsSaidToStayArmed(t *testing.T) {
	device := newDevice(t, shortDir(t))
	h := newTestHolder(device, &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 60, fixed: true, stop: unix.EBUSY})
	r := ask(device)
	r.Idle = true
	if _, err := h.hand(r); err == nil || !strings.Contains(err.Error(), "stays armed") {
		t.Errorf("hand() = %v; want it to say that the device stays armed", err)
	}
}

func TestRequestsThatAHolderCannotServeAreRefused(t *testing.T) {
	device := newDevice(t, shortDir(t))
	for _, c := range []struct {
		change func(*request)
		want   string
	}{
		{func(r *request) { r.Version = 2 }, "version 2"},
		{func(r *request) { r.Device = "/dev/watchdog1" }, "reboot this host"},
		{func(r *request) { r.TimeoutMs = 0 }, "want 1 ms to 1 h"},
		{func(r *request) { r.TimeoutMs = 1 << 40 }, "want 1 ms to 1 h"},
	} {
		h, r := newTestHolder(device, &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 4}), ask(device)
		c.change(&r)
		if _, err := h.hand(r); err == nil || !strings.Contains(err.Error(), c.want) || h.file != nil {
			t.Errorf("hand(%+v) = %v, file %v; want an error with %q and the device unopened", r, err, h.file, c.want)
		}
	}
}

// serveHere runs a holder in this process until the test ends.
func serveHere(t *testing.T, h *holder, socket string) {
	go func() { _ = h.listen(socket) }() // ends with the test binary
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(holderPoll) {
		if c, err := net.Dial("unixpacket", socket); err == nil {
			c.Close()
			return
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestASecondHolderLeavesTheFirstAlone(t *testing.T) {
	dir := shortDir(t)
	socket, device := filepath.Join(dir, "s"), newDevice(t, dir)
	serveHere(t, newTestHolder(device, &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 4}), socket)
	if err := newTestHolder(device, &fakeDriver{}).listen(socket); err != nil {
		t.Errorf("listen() of a second holder = %v; want nil at once", err)
	}
	w, err := testClient(socket, device).Open(0, false)
	if err != nil {
		t.Fatal("the first holder does not answer any more: ", err)
	}
	w.Close()
}

func TestNonsenseDoesNotEndTheHolder(t *testing.T) {
	dir := shortDir(t)
	socket, device := filepath.Join(dir, "s"), newDevice(t, dir)
	serveHere(t, newTestHolder(device, &fakeDriver{flags: unix.WDIOF_MAGICCLOSE, seconds: 4}), socket)
	for _, text := range []string{"", "{", strings.Repeat("x", 2*maxMessage), `{"version":1}`, `[]`} {
		c, err := net.Dial("unixpacket", socket)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	w, err := testClient(socket, device).Open(0, false)
	if err != nil {
		t.Fatalf("Open() after nonsense = %v; want the device", err)
	}
	w.Close()
}

func TestAHolderOfAnotherKindOfAnswerIsAnError(t *testing.T) {
	for _, answer := range []string{"{", `{"version":1}`, `{"version":1,"error":"not today"}`} {
		socket := filepath.Join(shortDir(t), "s")
		l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: socket, Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			packet := make([]byte, maxMessage)
			if _, err := c.Read(packet); err == nil {
				_, _ = c.Write([]byte(answer)) // Open fails without it
			}
		}()
		if w, err := testClient(socket, "/dev/watchdog").Open(0, false); err == nil {
			w.Close()
			t.Errorf("Open() on the answer %s = nil; want an error", answer)
		}
		l.Close()
	}
}

func TestAHolderThatDoesNotStartIsAnError(t *testing.T) {
	h := Holder{Socket: filepath.Join(shortDir(t), "s"), Device: "/dev/watchdog", Timeout: time.Second, Start: func() error { return errors.New("no such program") }}
	if _, err := h.Open(0, true); err == nil || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("Open() = %v; want why the holder did not start", err)
	}
}

func TestThePowerStripIsPettedByOrderOnly(t *testing.T) {
	socket := filepath.Join(shortDir(t), "strip")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lines := make(chan string, 4)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer close(lines)
		for s := bufio.NewScanner(c); s.Scan(); {
			lines <- s.Text()
			if _, err := io.WriteString(c, "ok\n"); err != nil {
				return
			}
		}
	}()
	p, err := OpenPowerStrip(socket, 4*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Pet(); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	var got []string
	for line := range lines {
		got = append(got, line)
	}
	if len(got) != 1 || got[0] != "pet 4000" {
		t.Errorf("the strip read %q; want [pet 4000]", got)
	}
}
