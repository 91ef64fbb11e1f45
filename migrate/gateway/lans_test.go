package gateway

import (
	"context"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
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
		go copyUntilCut(far, near)
		go copyUntilCut(near, far)
	}()
	return l.Addr().String()
}

func copyUntilCut(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (h *halfLAN) cutFar() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.far {
		c.Close()
	}
}
