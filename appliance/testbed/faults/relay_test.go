package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// relayed is a relay on this host, with a connection through it.
func relayed(t *testing.T) (r *relay, near, far net.Conn) {
	t.Helper()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { server.Close() })
	r = &relay{dial: func() (net.Conn, error) { return net.Dial("tcp", server.Addr().String()) }}
	r.listener, err = net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go r.accept()
	t.Cleanup(func() { must(t, r.close()) })
	near, err = net.Dial("tcp", r.address())
	must(t, err)
	far, err = server.Accept()
	must(t, err)
	t.Cleanup(func() { near.Close(); far.Close() })
	return r, near, far
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hears tells whether the text arrives within a moment.
func hears(t *testing.T, c net.Conn, text string, within time.Duration) bool {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(within)))
	b := make([]byte, len(text))
	_, err := io.ReadFull(c, b)
	return err == nil && string(b) == text
}

func TestARelayThatIsDeafInOneDirectionCarriesTheOther(t *testing.T) {
	r, near, far := relayed(t)
	say := func(c net.Conn, text string) {
		_, err := io.WriteString(c, text)
		must(t, err)
	}
	say(near, "READY?")
	if !hears(t, far, "READY?", time.Second) {
		t.Fatal("a relay that nothing is wrong with does not carry")
	}
	r.answers.deaf.Store(true)
	say(far, "READY")
	say(near, "well?")
	if !hears(t, far, "well?", time.Second) {
		t.Error("orders are lost, too")
	}
	if hears(t, near, "READY", 100*time.Millisecond) {
		t.Error("the answer came although it should be lost")
	}
}

func TestARelayCanBeLateAndCanReset(t *testing.T) {
	r, near, far := relayed(t)
	r.orders.delay.Store(int64(100 * time.Millisecond))
	began := time.Now()
	_, err := io.WriteString(near, "late")
	must(t, err)
	if !hears(t, far, "late", 5*time.Second) || time.Since(began) < 100*time.Millisecond {
		t.Errorf("it came after %v; want 100 ms at least", time.Since(began))
	}
	must(t, r.reset())
	for _, c := range []net.Conn{near, far} {
		must(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
		if n, err := c.Read(make([]byte, 1)); err == nil || n > 0 {
			t.Errorf("Read() after the reset = %d, %v; want an error", n, err)
		}
	}
}
