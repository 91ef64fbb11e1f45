package ether

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	gooseType = 0x88b8
	svType    = 0x88ba
)

func open(t *testing.T, name string, etherTypes ...uint16) *Conn {
	t.Helper()
	c, err := Open(name, etherTypes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func send(t *testing.T, c *Conn, f Frame) {
	t.Helper()
	if err := c.Send(f); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *Conn) Frame {
	t.Helper()
	f, err := c.Receive(time.Now().Add(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// silent wants that nothing comes.
func silent(t *testing.T, c *Conn) {
	t.Helper()
	if f, err := c.Receive(time.Now().Add(200 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Receive() = %+v, %v; want nothing", f, err)
	}
}

func frame(etherType uint16, payload string) Frame {
	return Frame{Dst: gooseDst, EtherType: etherType, Payload: []byte(payload)}
}

func TestAVLANTagSurvivesReception(t *testing.T) {
	left, right := wire(t)
	from, to := open(t, left), open(t, right, gooseType)
	for _, vlan := range []VLAN{
		{}, {Present: true, Priority: 4}, {Present: true, Priority: 4, ID: 5}, {Present: true, Priority: 7, ID: 4095, DEI: true}, {Present: true, ID: 1},
	} {
		f := frame(gooseType, strings.Repeat("x", 60))
		f.VLAN = vlan
		before := time.Now()
		send(t, from, f)
		got := receive(t, to)
		if got.VLAN != vlan || got.Dst != gooseDst || got.Src != from.Address() || got.EtherType != gooseType || !bytes.Equal(got.Payload, f.Payload) {
			t.Errorf("received %+v; want %+v from %v", got, f, from.Address())
		}
		if got.Received.Before(before.Add(-time.Second)) || got.Received.After(time.Now().Add(time.Second)) {
			t.Errorf("time stamp %v; want about %v", got.Received, before)
		}
	}
}

func TestTheSourceAddressIsKeptWhenItIsGiven(t *testing.T) {
	left, right := wire(t)
	from, to := open(t, left), open(t, right, gooseType)
	f := frame(gooseType, "x")
	f.Src = stationA
	send(t, from, f)
	if got := receive(t, to); got.Src != stationA {
		t.Errorf("source = %v; want %v", got.Src, stationA)
	}
}

func TestTheFilterDropsOtherEtherTypes(t *testing.T) {
	left, right := wire(t)
	from, goose, both, none := open(t, left), open(t, right, gooseType), open(t, right, gooseType, svType), open(t, right)
	tagged := frame(svType, "tagged SV")
	tagged.VLAN = VLAN{Present: true, Priority: 4}
	for _, f := range []Frame{frame(0x0800, "IPv4"), frame(svType, "SV"), tagged, frame(0x88b9, "GSE"), frame(gooseType, "GOOSE")} {
		send(t, from, f)
	}
	for c, want := range map[*Conn][]string{goose: {"GOOSE"}, both: {"SV", "tagged SV", "GOOSE"}, none: nil} {
		for _, payload := range want {
			if got := receive(t, c); string(got.Payload) != payload {
				t.Errorf("received %q; want %q", got.Payload, payload)
			}
		}
		silent(t, c)
	}
}

func TestOwnFramesAreNotReceived(t *testing.T) {
	left, right := wire(t)
	sender, neighbour, peer := open(t, left, gooseType), open(t, left, gooseType), open(t, right, gooseType)
	send(t, sender, frame(gooseType, "mine"))
	if got := receive(t, peer); string(got.Payload) != "mine" {
		t.Errorf("the peer received %q", got.Payload)
	}
	silent(t, sender)
	silent(t, neighbour) // another socket on the interface that sent it
	send(t, peer, frame(gooseType, "yours"))
	if got := receive(t, sender); string(got.Payload) != "yours" {
		t.Errorf("received %q; want the peer's frame", got.Payload)
	}
}

func TestABurstIsKeptInOrderForAReaderThatComesLate(t *testing.T) {
	left, right := wire(t)
	from, to := open(t, left), open(t, right, gooseType)
	for i := range 100 {
		send(t, from, frame(gooseType, strings.Repeat("x", i+1)))
	}
	for i := range 100 {
		if got := receive(t, to); len(got.Payload) != i+1 {
			t.Fatalf("frame %d has %d bytes; want %d", i, len(got.Payload), i+1)
		}
	}
}

func TestReceiveEndsAtItsDeadline(t *testing.T) {
	left, right := wire(t)
	from, to := open(t, left), open(t, right, gooseType)
	for _, wait := range []time.Duration{-time.Second, 0, 5 * time.Millisecond, 150 * time.Millisecond} {
		begin := time.Now()
		_, err := to.Receive(begin.Add(wait))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < wait || took > wait+5*time.Second {
			t.Errorf("Receive(in %v) = %v after %v", wait, err, took)
		}
	}
	send(t, from, frame(gooseType, "x"))
	if _, err := to.Receive(time.Time{}); err != nil {
		t.Errorf("Receive() without a deadline = %v; want the frame", err)
	}
}

func TestADeadlineIsAsFineAsTheClock(t *testing.T) {
	_, right := wire(t)
	to := open(t, right, gooseType)
	best := time.Hour
	for range 20 { // the machine may be slow now and then, not each time
		begin := time.Now()
		if _, err := to.Receive(begin.Add(2 * time.Millisecond)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		best = min(best, time.Since(begin))
	}
	if best > 20*time.Millisecond {
		t.Errorf("the quickest of 20 waits of 2 ms took %v", best)
	}
}

func TestCloseWakesReceiveAndReleasesTheDescriptor(t *testing.T) {
	_, right := wire(t)
	before := descriptors(t)
	c := open(t, right, gooseType)
	ended := make(chan error)
	go func() {
		_, err := c.Receive(time.Time{})
		ended <- err
	}()
	time.Sleep(50 * time.Millisecond) // most likely it waits by now; either way it must end
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("the waiting Receive() = %v; want net.ErrClosed", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Receive() waits on a closed socket")
	}
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors; %d before Open", n, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestAClosedConnectionSaysSo(t *testing.T) {
	left, _ := wire(t)
	c := open(t, left, gooseType)
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	}
	if err := c.Send(frame(gooseType, "x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send() = %v; want net.ErrClosed", err)
	}
	for _, deadline := range []time.Time{{}, time.Now().Add(time.Minute)} {
		if _, err := c.Receive(deadline); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Receive() = %v; want net.ErrClosed", err)
		}
	}
}

func TestAnInterfaceMayGoDownAndComeBack(t *testing.T) {
	left, right := wire(t)
	from, to := open(t, left), open(t, right, gooseType)
	if err := ip("link", "set", right, "down"); err != nil {
		t.Fatal(err)
	}
	silent(t, to)
	if err := ip("link", "set", left, "down"); err != nil {
		t.Fatal(err)
	}
	if err := from.Send(frame(gooseType, "x")); err == nil || !strings.Contains(err.Error(), left) {
		t.Errorf("Send() on a dead interface = %v; want an error that names it", err)
	}
	bringUp(t, left, right)
	send(t, from, frame(gooseType, "back"))
	if got := receive(t, to); string(got.Payload) != "back" {
		t.Errorf("received %q; want %q", got.Payload, "back")
	}
}

func TestWhatCannotBeOpenedOrSentIsNamed(t *testing.T) {
	if _, err := Open("nowhere0"); err == nil || !strings.Contains(err.Error(), "nowhere0") {
		t.Errorf("Open() = %v; want an error that names the interface", err)
	}
	if _, err := Open("lo", make([]uint16, maxEtherTypes+1)...); err == nil || !strings.Contains(err.Error(), "at most 64") {
		t.Errorf("Open() = %v; want the bound of EtherTypes", err)
	}
	left, right := wire(t)
	many := make([]uint16, maxEtherTypes) // the last is reached by the longest jumps
	many[maxEtherTypes-1] = gooseType
	from, to := open(t, left), open(t, right, many...)
	if err := from.Send(Frame{Payload: make([]byte, maxPayload+1)}); err == nil || !strings.Contains(err.Error(), "payload") {
		t.Errorf("Send() = %v; want a refusal", err)
	}
	send(t, from, frame(gooseType, "x"))
	if got := receive(t, to); string(got.Payload) != "x" {
		t.Errorf("received %q", got.Payload)
	}
}
