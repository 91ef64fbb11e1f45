package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestALANIsDeadWhereAnotherOneAnswers(t *testing.T) {
	a, b := netip.MustParseAddrPort("10.0.1.2:7000"), netip.MustParseAddrPort("10.0.2.2:7000")
	for _, c := range []struct {
		what  string
		paths []path
		want  netip.AddrPort
	}{
		{"both answer", []path{{a, 0}, {b, 0}}, netip.AddrPort{}},
		{"one is late", []path{{a, 0}, {b, deadTimeouts - 1}}, netip.AddrPort{}},
		{"one is dead", []path{{a, 0}, {b, deadTimeouts}}, b},
		{"the first one is dead", []path{{a, deadTimeouts}, {b, 0}}, a},
		{"a connection of one is closed", []path{{a, math.MaxInt}, {b, 0}}, a},
		{"neither answers: it is the host", []path{{a, deadTimeouts}, {b, 1}}, netip.AddrPort{}},
		{"two connections over one LAN", []path{{a, deadTimeouts}, {a, 0}}, netip.AddrPort{}},
		{"no other LAN", []path{{a, deadTimeouts}}, netip.AddrPort{}},
		{"no connection", nil, netip.AddrPort{}},
	} {
		if got := deadLAN(c.paths); got != c.want {
			t.Errorf("%s: deadLAN() = %v; want %v", c.what, got, c.want)
		}
	}
}

// Every move over a site with a dead LAN would wait for it, a drain once for each guest.
func TestAnAddressThatDoesNotAnswerIsNotWaitedForLongBesideOneThatDoes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	live, dead := l.Addr().String(), silent(t)
	began := time.Now()
	d, err := dialAll([]string{dead, live}, 2)
	took := time.Since(began)
	must(t, err)
	for _, c := range d.conns {
		c.Close()
	}
	if len(d.conns) != 2 || !slices.Equal(d.reached, []string{live}) || len(d.unreached) != 1 || !errors.Is(d.unreached[0], errBeside) {
		t.Errorf("%d connections over %v, without %v; want 2 over %s, without %s", len(d.conns), d.reached, d.unreached, live, dead)
	}
	if took < besideWait || took > reachTimeout-500*time.Millisecond {
		t.Errorf("it took %v; want %v, time for two SYNs", took, besideWait)
	}
}

// A connection may fail where another one to the same address does not: that address is
// reached, and the disks' connections need one.
func TestAnAddressThatTakesOneConnectionOfTwoIsReached(t *testing.T) {
	address := nearlySilent(t)
	d, err := dialAll([]string{address}, 2)
	must(t, err)
	for _, c := range d.conns {
		c.Close()
	}
	if len(d.conns) != 1 || !slices.Equal(d.reached, []string{address}) || len(d.unreached) > 0 {
		t.Errorf("%d connections over %v, without %v; want 1, over %s", len(d.conns), d.reached, d.unreached, address)
	}
}

// silent is an address that takes no connection and refuses none: its backlog is full.
func silent(t *testing.T) string {
	t.Helper()
	address := nearlySilent(t)
	c, err := net.Dial("tcp", address)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return address
}

// nearlySilent is an address that takes one connection, as Linux does with a backlog of
// 0, and then none; it refuses none.
func nearlySilent(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, unix.Listen(fd, 0))
	is, err := unix.Getsockname(fd)
	must(t, err)
	return fmt.Sprintf("127.0.0.1:%d", is.(*unix.SockaddrInet4).Port)
}

// A LAN may be lost to the destination before the source notices: the move is tried
// once more all the same.
func TestALANThatIsLostAtTheDestinationIsTheLink(t *testing.T) {
	b := newBench(t)
	lost := &halfLAN{t: t}
	b.lans = func(a string) []string { return []string{a, lost.to(a)} }
	b.ask = func(ctx context.Context) error { // the source has sent all, and writes nothing
		lost.cutFar()
		<-ctx.Done()
		return ctx.Err()
	}
	b.begin()

	r := b.result(0)
	if r.Outcome != Failed || !r.LinkBroke || !strings.Contains(r.Reason, "the destination gave up: connection 1") {
		t.Errorf("%+v; want failed, by a LAN, as the destination said", r)
	}
	b.guest("src")
}

// halfLAN is a path whose far end can be cut; its near end stays, and takes nothing.
type halfLAN struct {
	t   *testing.T
	mu  sync.Mutex
	far []net.Conn
}

func (h *halfLAN) to(address string) string {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(h.t, err)
	h.t.Cleanup(func() { l.Close(); h.cutFar() })
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		h.t.Cleanup(func() { near.Close() })
		far, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		h.mu.Lock()
		h.far = append(h.far, far)
		h.mu.Unlock()
		go func() { _, _ = io.Copy(far, near) }() // they end with the cut, and close nothing
		go func() { _, _ = io.Copy(near, far) }()
	}()
	return l.Addr().String()
}

func (h *halfLAN) cutFar() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.far {
		c.Close()
	}
}
