package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bumpless/migrate/link/linktest"
)

func files(s *linktest.Site, name string) Files {
	cert, key, ca := s.Host(name)
	return Files{Cert: cert, Key: key, CA: ca}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, f Files) *tls.Config {
	t.Helper()
	c, err := f.Load()
	must(t, err)
	return c
}

// loopback returns both ends of a TCP connection.
func loopback(t testing.TB) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	s, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { c.Close(); s.Close() })
	deadline := time.Now().Add(20 * time.Second)
	must(t, c.SetDeadline(deadline))
	must(t, s.SetDeadline(deadline))
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// greet makes a real handshake and passes one frame each way.
func greet(t *testing.T, client, server *tls.Config) (clientErr, serverErr error) {
	t.Helper()
	rawClient, rawServer := loopback(t)
	var meters [2]Meter
	c, err := Client(rawClient, client, "host-b", &meters[0])
	must(t, err)
	s, err := Server(rawServer, server, "host-a", &meters[1])
	must(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- exchange(ctx, s); s.Cut() }()
	clientErr = exchange(ctx, c)
	c.Cut()
	serverErr = <-ended
	if clientErr == nil && serverErr == nil && (meters[0].Sent.Load() == 0 || meters[0].Sent.Load() < meters[1].Received.Load()) {
		t.Errorf("the meters say %d sent, %d received", meters[0].Sent.Load(), meters[1].Received.Load())
	}
	return clientErr, serverErr
}

func exchange(ctx context.Context, c Conn) error {
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	if err := Write(c, Frame{Type: Hello, Body: []byte("hello")}); err != nil {
		return err
	}
	f, err := NewReader(c).Read()
	if err == nil && string(f.Body) != "hello" {
		err = fmt.Errorf("a %s frame with %q came", f.Type, f.Body)
	}
	return err
}

func TestOnlyTheRightPeerIsTalkedTo(t *testing.T) {
	ours, theirs := linktest.NewSite(t), linktest.NewSite(t)
	a, b := load(t, files(ours, "host-a")), load(t, files(ours, "host-b"))
	other := load(t, files(ours, "host-c"))
	strangerA, strangerB := load(t, files(theirs, "host-a")), load(t, files(theirs, "host-b"))
	strangerA.RootCAs, strangerB.ClientCAs = a.RootCAs, b.ClientCAs // they would trust us
	nobody := a.Clone()
	nobody.Certificates = nil
	old := a.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for _, c := range []struct {
		name           string
		client, server *tls.Config
		good           bool
	}{
		{"host-a to host-b", a, b, true},
		{"a client without a certificate", nobody, b, false},
		{"another host of the site as the client", other, b, false},
		{"a host-a of another site", strangerA, b, false},
		{"another host of the site as the server", a, other, false},
		{"a host-b of another site", a, strangerB, false},
		{"TLS 1.2", old, b, false},
	} {
		clientErr, serverErr := greet(t, c.client, c.server)
		if good := clientErr == nil && serverErr == nil; good != c.good {
			t.Errorf("%s: client %v, server %v; want success %v", c.name, clientErr, serverErr, c.good)
		}
		if !c.good && (clientErr == nil || serverErr == nil) {
			t.Errorf("%s: client %v, server %v; want both to know", c.name, clientErr, serverErr)
		}
	}
}

func TestCutReleasesAWriterAtOnce(t *testing.T) {
	s := linktest.NewSite(t)
	rawClient, rawServer := loopback(t)
	var m Meter
	c, err := Client(rawClient, load(t, files(s, "host-a")), "host-b", &m)
	must(t, err)
	server, err := Server(rawServer, load(t, files(s, "host-b")), "host-a", &m)
	must(t, err)
	shaken := make(chan error, 1)
	go func() { shaken <- server.Handshake() }()
	must(t, c.Handshake())
	must(t, <-shaken)
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil { // the server does not read
			_, err = c.Write(make([]byte, 64<<10))
		}
		ended <- err
	}()
	for c.Unsent() == 0 || c.NotSent() == 0 { // more than the server has room for
		time.Sleep(time.Millisecond)
	}
	c.Cut()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("a write goes on although the connection was cut")
	}
	if n, m := c.Unsent(), c.NotSent(); n != 0 || m != 0 {
		t.Errorf("Unsent(), NotSent() of a cut connection = %d, %d; want 0", n, m)
	}
}

func TestFilesThatAreNotCertificatesAreNamed(t *testing.T) {
	good := files(linktest.NewSite(t), "host-a")
	none := filepath.Join(t.TempDir(), "none")
	must(t, os.WriteFile(none, []byte("no PEM"), 0o600))
	for name, f := range map[string]Files{
		"no certificate": {Cert: none, Key: good.Key, CA: good.CA}, "no key": {Cert: good.Cert, Key: "/nonexistent", CA: good.CA},
		"no CA": {Cert: good.Cert, Key: good.Key, CA: "/nonexistent"}, "an empty CA": {Cert: good.Cert, Key: good.Key, CA: none},
	} {
		if _, err := f.Load(); err == nil {
			t.Errorf("%s: Load() = nil; want an error", name)
		}
	}
}

func TestTheKernelKnowsTheRoundTrip(t *testing.T) {
	site := linktest.NewSite(t)
	rawClient, rawServer := loopback(t)
	c, err := Client(rawClient, load(t, files(site, "host-a")), "host-b", new(Meter))
	must(t, err)
	s, err := Server(rawServer, load(t, files(site, "host-b")), "host-a", new(Meter))
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- s.Handshake() }()
	must(t, c.Handshake())
	must(t, <-ended)
	if d := c.RoundTrip(); d <= 0 || d > time.Second {
		t.Errorf("RoundTrip() over loopback = %v; want something", d)
	}
	must(t, c.Shrink())
	// A frame goes out at once, even if it is longer than what may wait.
	go func() { ended <- Write(c, Frame{Type: Pages, Body: make([]byte, maxBatch)}) }()
	f, err := NewReader(s).Read()
	if must(t, <-ended); err != nil || len(f.Body) != maxBatch {
		t.Errorf("Read() = %d bytes, %v; want %d", len(f.Body), err, maxBatch)
	}
	c.Cut()
	if d := c.RoundTrip(); d != 0 {
		t.Errorf("RoundTrip() of a connection that was cut = %v; want 0", d)
	}
}

// arrived is a connection on which all is there already.
type arrived struct {
	net.Conn
	data  *bytes.Reader
	reads int
}

func (a *arrived) Read(b []byte) (int, error) {
	a.reads++
	return a.data.Read(b)
}

func TestWhatHasArrivedIsTakenManyRecordsAtATime(t *testing.T) {
	const record, records = 16 << 10, 32
	var m Meter
	a := &arrived{data: bytes.NewReader(make([]byte, record*records))}
	w := newWire(a, &m)
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{w}, make([]byte, record))
	if err != nil || n != record*records || m.Received.Load() != n {
		t.Errorf("%d bytes came, %d were counted, %v; want %d", n, m.Received.Load(), err, record*records)
	}
	if most := records/4 + 1; a.reads > most {
		t.Errorf("%d records took %d reads; want at most %d", records, a.reads, most)
	}
}
