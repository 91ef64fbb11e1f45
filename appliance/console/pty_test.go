package console

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pty is a serial line: the test holds one end, a session the other.
type pty struct {
	t      *testing.T
	master *os.File
	device string

	mu    sync.Mutex
	heard bytes.Buffer
	gone  chan struct{} // closed when the master reads no more
}

// newPTY makes a line and reads what comes over it until the test ends.
func newPTY(t *testing.T) *pty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if cerr := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	p := &pty{t: t, master: master, device: fmt.Sprintf("/dev/pts/%d", n), gone: make(chan struct{})}
	go p.hear()
	t.Cleanup(p.unplug)
	return p
}

func (p *pty) hear() {
	defer close(p.gone)
	buffer := make([]byte, 4096)
	for {
		n, err := p.master.Read(buffer)
		p.mu.Lock()
		p.heard.Write(buffer[:n])
		p.mu.Unlock()
		// EIO only says that nobody has the other end open just now.
		if err != nil && !strings.Contains(err.Error(), "input/output error") {
			return
		}
		if err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// unplug hangs the line up; a second time is fine.
func (p *pty) unplug() {
	p.master.Close()
	<-p.gone
}

// enter types keys.
func (p *pty) enter(keys string) {
	p.t.Helper()
	if err := p.master.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.master.Write([]byte(keys)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pty) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard.String()
}

// expect waits until what came since the last expect holds text, and returns it
// up to there.
func (p *pty) expect(text string) string {
	p.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		p.mu.Lock()
		heard := p.heard.String()
		if i := strings.Index(heard, text); i >= 0 {
			p.heard.Next(i + len(text))
			p.mu.Unlock()
			return heard[:i+len(text)]
		}
		p.mu.Unlock()
	}
	p.t.Fatalf("waited for %q, heard %q", text, p.text())
	return ""
}
