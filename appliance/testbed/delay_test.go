package testbed

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo listens on host-b and returns a connection from host-a to it.
func echo(t *testing.T, b *Bed) net.Conn {
	t.Helper()
	var listener net.Listener
	err := b.Host("host-b").InNetwork(func() (err error) {
		listener, err = net.Listen("tcp", Address(2, LANA)+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // until the test hangs up
			}()
		}
	}()
	var c net.Conn
	err = b.Host("host-a").InNetwork(func() (err error) {
		c, err = net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// roundTrip is the shortest of some echoes.
func roundTrip(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	best := time.Hour
	for range 5 {
		began := time.Now()
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		best = min(best, time.Since(began))
	}
	return best
}

func TestADelayedLinkAddsItsRoundTripAndGoesAway(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a", "host-b"}})
	c := echo(t, b)
	before := roundTrip(t, c)
	stop, err := b.Delay("host-a", LANA, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	during := roundTrip(t, c)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if after := roundTrip(t, c); before > 10*time.Millisecond || after > 10*time.Millisecond {
		t.Errorf("round trip without delay: %v and %v", before, after)
	}
	if during < 20*time.Millisecond || during > 40*time.Millisecond {
		t.Errorf("round trip = %v; want 20 ms and a little", during)
	}
}

func TestADelayedLinkCarriesAGigabit(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a", "host-b"}, LinkBitsPerS: 1e9})
	stop, err := b.Delay("host-a", LANA, 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	c := echo(t, b)
	const size = 64 << 20
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, size))
		sent <- err
	}()
	n, err := io.Copy(io.Discard, io.LimitReader(c, size))
	if err == nil {
		err = <-sent
	}
	rate := float64(size) / 1e6 / time.Since(began).Seconds()
	if err != nil || n != size {
		t.Fatalf("%d bytes came back, %v; want %d", n, err, size)
	}
	if rate < 30 {
		t.Errorf("%.0f MB/s there and back; a link of 1 Gbit/s carries 125", rate)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
