package testbed

import (
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestWorkInAHostsNetworkBelongsToThatNetwork(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a", "host-b"}})
	var listener net.Listener
	err := b.Host("host-b").InNetwork(func() (err error) {
		listener, err = net.Listen("tcp", Address(2, LANA)+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := func() error {
		c, err := net.DialTimeout("tcp", listener.Addr().String(), 5*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}
	if err := b.Host("host-a").InNetwork(dial); err != nil {
		t.Error("host-a does not reach what listens on host-b:", err)
	}
	// The bed itself has no address in the LAN, and is where it was.
	if err := dial(); err == nil {
		t.Error("the bed reaches host-b as if it were a host")
	}
	if _, err := net.InterfaceByName(Port("host-a", LANA)); err != nil {
		t.Error("the bed's own network is not back:", err)
	}
}

func TestHostsLiveOnAfterWorkInTheirNetworks(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a", "host-b"}})
	refused := errors.New("refused")
	// More goroutines than there are threads: each may use, and end, any of them.
	done := make(chan error)
	for range 64 {
		go func() {
			done <- b.Host("host-a").InNetwork(func() error { time.Sleep(time.Millisecond); return refused })
		}()
	}
	for range 64 {
		if err := <-done; !errors.Is(err, refused) {
			t.Errorf("InNetwork() = %v; want what the work returned", err)
		}
	}
	for _, host := range []string{"host-a", "host-b"} {
		if _, err := b.Host(host).Exec(within(t), "true"); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestALinkIsShapedAndFreedAgain(t *testing.T) {
	b := newBed(t, Options{Hosts: []string{"host-a"}})
	for _, c := range []struct {
		bitsPerS int64
		want     string
	}{{200e6, "rate 200Mbit"}, {0, "noqueue"}, {0, "noqueue"}, {1e9, "rate 1Gbit"}} {
		if err := b.SetLink("host-a", LANA, c.bitsPerS); err != nil {
			t.Fatal(err)
		}
		out, err := runOwn(exec.Command("tc", "qdisc", "show", "dev", Port("host-a", LANA)))
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("a link of %d bit/s: %s, %v; want %s", c.bitsPerS, out, err, c.want)
		}
	}
}
