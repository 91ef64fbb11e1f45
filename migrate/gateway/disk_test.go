package gateway

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/link/linktest"
)

// linked are the two ends of one connection between gateways over loopback.
func linked(t *testing.T) (c, peer link.Conn, raw *net.TCPConn) {
	t.Helper()
	site := linktest.NewSite(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	accepted, err := l.Accept()
	must(t, err)
	mine, err := files(site, "src").Load()
	must(t, err)
	theirs, err := files(site, "dst").Load()
	must(t, err)
	raw = dialled.(*net.TCPConn)
	c, err = link.Client(raw, mine, "dst", new(link.Meter))
	must(t, err)
	peer, err = link.Server(accepted.(*net.TCPConn), theirs, "src", new(link.Meter))
	must(t, err)
	go func() { _ = peer.Handshake() }() // it fails at the client too
	must(t, c.Handshake())
	return c, peer, raw
}

// tunnelled is a tunnel over loopback: qemu is its QEMU's end, peer the other
// gateway's end.
func tunnelled(t *testing.T) (tun *tunnel, local, qemu net.Conn, peer link.Conn) {
	t.Helper()
	c, peer, raw := linked(t)
	tun, err := newTunnel(c, raw)
	must(t, err)
	local, qemu = net.Pipe()
	t.Cleanup(func() { peer.Cut(); tun.cut(); qemu.Close() })
	return tun, local, qemu, peer
}

func swap(t *testing.T, from io.Writer, to io.Reader, text string) {
	t.Helper()
	go func() { _, _ = io.WriteString(from, text) }() // what does not arrive is seen below
	got := make([]byte, len(text))
	if _, err := io.ReadFull(to, got); err != nil || string(got) != text {
		t.Fatalf("%q arrived (%v); want %q", got, err, text)
	}
}

func TestATunnelCarriesBothWaysUntilOneSideEnds(t *testing.T) {
	tun, local, qemu, peer := tunnelled(t)
	ended := make(chan error, 1)
	go func() { ended <- tun.carryRequests(local) }()
	swap(t, peer, qemu, "greeting")
	swap(t, qemu, peer, "request")
	swap(t, peer, qemu, "answer")
	qemu.Close()
	select {
	case err := <-ended:
		if errors.Is(err, errStalled) {
			t.Errorf("it ended with %v; want the end of QEMU's side", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it does not end with QEMU's side")
	}
	if _, err := peer.Read(make([]byte, 1)); err == nil {
		t.Error("the peer's side is still open")
	}
}

func TestARequestWithoutAnAnswerEndsTheTunnelAndAnIdleOneDoesNot(t *testing.T) {
	for _, c := range []struct {
		name         string
		greet, asked bool
		stalls       bool
	}{
		{"no greeting", false, false, true},
		{"idle", true, false, false},
		{"a request without an answer", true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tun, local, qemu, peer := tunnelled(t)
			ended := make(chan error, 1)
			go func() { ended <- tun.carryRequests(local) }()
			if c.greet {
				swap(t, peer, qemu, "greeting")
			}
			if c.asked {
				swap(t, qemu, peer, "request")
			}
			select {
			case err := <-ended:
				if !c.stalls || !errors.Is(err, errStalled) {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(stallWait + 2*time.Second):
				if c.stalls {
					t.Error("it does not end")
				}
			}
		})
	}
}

func TestHostsWithDifferentDisksAreToldSo(t *testing.T) {
	for _, c := range []struct{ source, destination []string }{{[]string{"d0"}, nil}, {nil, []string{"d0"}}, {[]string{"d0", "d1"}, []string{"d0"}}} {
		d := &destination{cfg: DestinationConfig{LocalDisks: c.destination}}
		err := d.sameDisks(hello{Disks: len(c.source)})
		if err == nil || !strings.Contains(err.Error(), "site files differ") {
			t.Errorf("sameDisks(%d), here %d = %v; want a refusal", len(c.source), len(c.destination), err)
		}
	}
}

func TestADiskHasOneConnection(t *testing.T) {
	d := &destination{cfg: DestinationConfig{LocalDisks: []string{"d0", "d1"}}, exports: exports{tunnels: []*tunnel{{}, nil}}}
	for _, disk := range []int{1, 3} {
		if err := d.seatDisk(caller{hello: hello{Disk: disk, Disks: 2}}); err == nil {
			t.Errorf("seatDisk() takes a connection for disk %d, which is there or does not exist", disk)
		}
	}
	if d.seats = make([]seat, 2); d.missing() != 3 {
		t.Errorf("missing() = %d; want 3: two for memory and one disk's", d.missing())
	}
}
