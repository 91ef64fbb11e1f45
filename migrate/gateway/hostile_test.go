package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/stream"
)

// peer is a source that a test plays frame by frame.
type peer struct {
	t      *testing.T
	dst    *fakeQEMU
	conn   link.Conn
	reader *link.Reader
	result chan Result
}

func newPeer(t *testing.T) *peer {
	t.Helper()
	p, _ := newPeers(t, newBench(t), 1)
	return p
}

// newPeers is a source with so many connections: the first one, and all of them.
func newPeers(t *testing.T, b *bench, connections int) (*peer, []link.Conn) {
	t.Helper()
	p := &peer{t: t, dst: b.dst, result: make(chan Result, 1)}
	b.destination.RAMBytes = 1 << 30
	b.dst.run()
	addresses := make(chan []string, 1)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		r, err := RunDestination(ctx, b.destination, func(e Event) {
			if len(e.Addresses) > 0 {
				addresses <- e.Addresses
			}
		})
		p.result <- ended(r, err)
	}()
	config, err := b.source.TLS.Load()
	must(t, err)
	address := (<-addresses)[0]
	var conns []link.Conn
	for i := range connections {
		raw, err := net.Dial("tcp", address)
		must(t, err)
		t.Cleanup(func() { raw.Close() })
		must(t, raw.SetDeadline(time.Now().Add(20*time.Second)))
		c, err := link.Client(raw.(*net.TCPConn), config, "dst", new(link.Meter))
		must(t, err)
		must(t, c.Handshake())
		h := hello{Move: "m", Guest: "g", Connection: i, Total: connections}
		if i == 0 {
			h.Key = make([]byte, 16)
		}
		must(t, writeHello(c, h))
		conns = append(conns, c)
	}
	p.conn, p.reader = conns[0], link.NewReader(conns[0])
	_, err = readHello(p.reader, "m", "g")
	must(t, err)
	return p, conns
}

var configFrame = link.Frame{Type: link.Config, Body: []byte("QEVM\x00\x00\x00\x03\x07\x00\x00\x00\x04fake")}

func startFrame(size uint64) link.Frame {
	b := []byte("\x01\x00\x00\x00\x02\x03ram\x00\x00\x00\x00\x00\x00\x00\x04")
	b = append(binary.BigEndian.AppendUint64(b, size|4), "\x06pc.ram"...)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, size), 0x10)
	return link.Frame{Type: link.RAMStart, Body: append(b, "\x7e\x00\x00\x00\x02"...)}
}

func pagesFrame(pages ...link.Page) link.Frame {
	return link.Frame{Type: link.Pages, Count: uint16(len(pages)), Body: link.AppendPages(nil, pages)}
}

// digestOf pages that are each the newest of their place.
func digestOf(t *testing.T, pages ...link.Page) link.Frame {
	t.Helper()
	h, err := newHasher(make([]byte, 16))
	must(t, err)
	var d digest
	for _, p := range pages {
		d.replace(tag{}, h.page(int(p.Block), uint64(p.Index), p.Data))
	}
	return link.Frame{Type: link.Digest, Body: d.bytes()}
}

func TestADestinationStartsNoGuestOnWrongFrames(t *testing.T) {
	const size = 64 * stream.PageSize
	page := link.Page{Index: 3, Version: 1, Data: pageOf(7)}
	older := link.Page{Index: 3, Version: 1, Data: pageOf(6)}
	newer := link.Page{Index: 3, Version: 2, Data: pageOf(7)}
	barrier := link.Frame{Type: link.Barrier, Body: make([]byte, 4)}
	tail := link.Frame{Type: link.Tail, Body: []byte("device state\x00\x06\x00\x00\x00\x02{}")}
	commit := link.Frame{Type: link.Commit}
	good := digestOf(t, page)
	wrong := link.Frame{Type: link.Digest, Body: bytes.Repeat([]byte{1}, 16)}
	damaged := pagesFrame(page)
	damaged.Body = damaged.Body[:len(damaged.Body)-1]
	for _, c := range []struct {
		name   string
		frames []link.Frame
		want   string // why it failed; "" for a guest that runs
	}{
		{"all is well", []link.Frame{configFrame, startFrame(size), pagesFrame(page), barrier, tail, good, commit}, ""},
		{"the newest version counts", []link.Frame{configFrame, startFrame(size), pagesFrame(newer), pagesFrame(older), barrier, tail, good, commit}, ""},
		{"another digest", []link.Frame{configFrame, startFrame(size), pagesFrame(page), barrier, tail, wrong, commit}, "the digests differ"},
		{"a page is missing", []link.Frame{configFrame, startFrame(size), barrier, tail, good, commit}, "the digests differ"},
		{"a page outside RAM", []link.Frame{configFrame, startFrame(size), pagesFrame(link.Page{Kind: link.Zero, Index: 64, Version: 1})}, "outside the guest's RAM"},
		{"a block that is not there", []link.Frame{configFrame, startFrame(size), pagesFrame(link.Page{Kind: link.Zero, Block: 1, Version: 1})}, "outside the guest's RAM"},
		{"a damaged batch", []link.Frame{configFrame, startFrame(size), damaged}, "truncated"},
		{"more RAM than the guest has", []link.Frame{configFrame, startFrame(2 << 30)}, "this guest has 1024 MiB"},
		{"16 TiB", []link.Frame{configFrame, startFrame(1 << 44)}, "this guest has 1024 MiB"},
		{"RAM-START twice", []link.Frame{configFrame, startFrame(size), startFrame(size)}, "second RAM-START"},
		{"RAM-START that is none", []link.Frame{configFrame, {Type: link.RAMStart, Body: []byte{8, 0, 1, 0, 0}}}, "not a RAM START"},
		{"BARRIER twice", []link.Frame{configFrame, startFrame(size), barrier, barrier}, "second BARRIER"},
		{"COMMIT first", []link.Frame{configFrame, startFrame(size), commit}, "sent COMMIT, not TAIL"},
		{"COMMIT instead of a digest", []link.Frame{configFrame, startFrame(size), barrier, tail, commit}, "sent COMMIT, not DIGEST"},
		{"a frame of the destination", []link.Frame{configFrame, {Type: link.Ready}}, "unexpected READY"},
		{"the source gives up", []link.Frame{configFrame, startFrame(size), {Type: link.Abort, Body: []byte("tired")}}, "gave up: tired"},
		{"too many frames", []link.Frame{configFrame, startFrame(size), tail, tail, tail, tail, tail, tail, tail}, ""},
	} {
		p := newPeer(t)
		for _, f := range c.frames {
			if err := link.Write(p.conn, f); err != nil {
				break // it has had enough: the result says why
			}
			if f.Type == link.Digest && c.want == "" {
				if f, err := p.reader.Read(); err != nil || f.Type != link.Ready || !bytes.Equal(f.Body, good.Body) {
					t.Fatalf("%s: %v, %v; want READY with the digest", c.name, f.Type, err)
				}
			}
		}
		_ = p.conn.CloseWrite() // it may have hung up
		_, _ = io.Copy(io.Discard, p.conn)
		p.conn.Cut()
		r := <-p.result
		runs := c.want == "" && c.name != "too many frames"
		if status, _ := p.dst.is(); (status == "running") != runs || (r.Outcome == Moved) != runs || !strings.Contains(r.Reason, c.want) {
			t.Errorf("%s: %s %q, QEMU %s; want runs=%v %q", c.name, r.Outcome, r.Reason, status, runs, c.want)
		}
	}
}

// host is a destination that a test plays frame by frame.
type host struct {
	conn   link.Conn
	reader *link.Reader
}

// until reads up to a frame of the source; false when the source hung up.
func (h *host) until(want link.Type) (link.Frame, bool) {
	for {
		f, err := h.reader.Read()
		if err != nil || f.Type == want {
			return f, err == nil
		}
	}
}

// playDestination lets a source move its guest to a destination that a test plays.
func playDestination(t *testing.T, play func(h *host)) (*bench, Result) {
	t.Helper()
	b := newBench(t)
	b.source.BudgetMs = 1000
	return b, b.playDestination(play)
}

func (b *bench) playDestination(play func(h *host)) Result {
	t := b.t
	t.Helper()
	b.src.run()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	b.source.Addresses, b.source.Connections = []string{l.Addr().String()}, 1
	config, err := b.destination.TLS.Load()
	must(t, err)
	played := make(chan struct{})
	go func() {
		defer close(played)
		raw, err := l.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		c, err := link.Server(raw.(*net.TCPConn), config, "src", new(link.Meter))
		if err != nil || c.SetDeadline(time.Now().Add(20*time.Second)) != nil {
			return
		}
		h := &host{conn: c, reader: link.NewReader(c)}
		if _, err := readHello(h.reader, "m", "g"); err == nil {
			play(h)
		}
	}()
	r, err := RunSource(context.Background(), b.source, func(e Event) { b.tell("source", e) }, nil)
	must(t, err)
	<-played
	return r
}

func TestASourceKeepsItsGuestFromAWrongDestination(t *testing.T) {
	greet := func(h *host) { _ = writeHello(h.conn, hello{Move: "m", Guest: "g", Total: 1}) } // the source says what it thinks of it
	send := func(h *host, f link.Frame) { _ = link.Write(h.conn, f) }
	for _, c := range []struct {
		name    string
		play    func(h *host)
		outcome Outcome
		why     string
	}{
		{"hangs up", func(h *host) {}, Failed, "HELLO"},
		{"another move", func(h *host) { _ = writeHello(h.conn, hello{Move: "x", Guest: "g", Total: 1}) }, Failed, `move "x"`},
		{"refuses", func(h *host) { send(h, link.Frame{Type: link.Abort, Body: []byte("full")}) }, Failed, "refuses: full"},
		{"READY before anything", func(h *host) { greet(h); send(h, link.Frame{Type: link.Ready}); h.until(0) }, Failed, "unexpected READY"},
		{"floods", func(h *host) {
			greet(h)
			for range 1000 {
				send(h, link.Frame{Type: link.Pong})
			}
			h.until(0)
		}, Failed, "unexpected PONG"},
		{"another digest", func(h *host) {
			greet(h)
			h.until(link.Digest)
			send(h, link.Frame{Type: link.Ready, Body: make([]byte, 16)})
			h.until(0)
		}, RolledBack, "the digests differ"},
		{"no digest", func(h *host) { greet(h); h.until(link.Digest); send(h, link.Frame{Type: link.Ready}); h.until(0) }, RolledBack, "the digests differ"},
		{"RUNNING instead of READY", func(h *host) { greet(h); h.until(link.Digest); send(h, link.Frame{Type: link.Running}); h.until(0) }, RolledBack, "unexpected RUNNING"},
		{"silence", func(h *host) { greet(h); h.until(0) }, RolledBack, "the deadline passed while waiting for READY: the budget of 1000 ms less the margin of 50 ms is over"},
		{"hangs up in the stop", func(h *host) { greet(h); h.until(link.Tail) }, RolledBack, ""},
		{"no answer to COMMIT", func(h *host) {
			greet(h)
			f, _ := h.until(link.Digest)
			send(h, link.Frame{Type: link.Ready, Body: f.Body})
			h.until(link.Commit)
		}, InDoubt, "RUNNING did not come"},
		{"gives up after COMMIT", func(h *host) {
			greet(h)
			f, _ := h.until(link.Digest)
			send(h, link.Frame{Type: link.Ready, Body: f.Body})
			h.until(link.Commit)
			send(h, link.Frame{Type: link.Abort, Body: []byte("locked")})
		}, InDoubt, "gave up: locked"},
	} {
		b, r := playDestination(t, c.play)
		if r.Outcome != c.outcome || !strings.Contains(r.Reason, c.why) || b.committed() != (c.outcome == InDoubt) {
			t.Errorf("%s: %s %q, committed %v; want %s because of %q", c.name, r.Outcome, r.Reason, b.committed(), c.outcome, c.why)
		}
		if strings.Contains(r.Reason, "context deadline exceeded") {
			t.Errorf("%s: because of %q; want the limit that was reached", c.name, r.Reason)
		}
		if status, _ := b.src.is(); (status == "running") != (c.outcome != InDoubt) {
			t.Errorf("%s: the source's guest is %s after %s", c.name, status, r.Outcome)
		}
	}
}

// The receiver of one connection waits for QEMU then, with what all of them share.
func TestADestinationWhoseQEMUDoesNotReadEndsWithTheMove(t *testing.T) {
	b := newBench(t)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	b.dst.read = func(*fakeQEMU, *os.File) { <-over }
	p, conns := newPeers(t, b, 2)
	must(t, link.Write(p.conn, configFrame))
	must(t, link.Write(p.conn, startFrame(1024*stream.PageSize)))
	go func() {
		for at := range uint32(1024) { // 4 MiB do not fit into a pipe
			if link.Write(conns[1], pagesFrame(link.Page{Index: at, Version: 1, Data: pageOf(7)})) != nil {
				return // it has had enough
			}
		}
	}()
	time.Sleep(300 * time.Millisecond) // until the pipe is full
	must(t, link.Write(p.conn, link.Frame{Type: link.Abort, Body: []byte("tired")}))
	select {
	case r := <-p.result:
		if r.Outcome != Failed || !strings.Contains(r.Reason, "gave up: tired") {
			t.Errorf("%+v; want failed, since the source gave up", r)
		}
	case <-time.After(5 * time.Second):
		t.Error("it has not ended after 5 s")
	}
}

// A PING waits for QEMU beside its connection; a second one waits for the first.
func TestADestinationAnswersOnePINGAtATimeOfAConnection(t *testing.T) {
	c, _, raw := linked(t)
	defer raw.Close()
	ours, theirs, err := socketPair()
	must(t, err)
	defer ours.Close()
	defer theirs.Close()
	_, err = ours.Write([]byte("what QEMU has not taken"))
	must(t, err)
	d := &destination{pipe: ours, out: stream.NewWriter(io.Discard, 4096), gone: make(chan struct{}), seats: []seat{{conn: c}}}
	var flood bytes.Buffer
	for range 1000 {
		must(t, link.Write(&flood, link.Frame{Type: link.Ping, Body: make([]byte, 8)}))
	}
	ended := make(chan error, 1)
	go func() { ended <- d.receiveAll(link.NewReader(&flood), 0) }()
	time.Sleep(200 * time.Millisecond)
	waiting := 0
	for _, stack := range atWork() {
		if strings.Contains(stack, "pongLater") {
			waiting++
		}
	}
	if waiting != 1 {
		t.Errorf("%d goroutines wait to answer; want one", waiting)
	}
	close(d.gone)
	<-ended
}
