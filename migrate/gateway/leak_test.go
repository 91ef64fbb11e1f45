package gateway

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/link"
)

// atWork is the stacks of goroutines that still work for a move.
func atWork() (list []string) {
	b := make([]byte, 4<<20)
	for _, stack := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
		for _, worker := range []string{"gateway.(*source)", "gateway.(*destination)", "gateway.(*sender)", "gateway.(*table)"} {
			if strings.Contains(stack, worker) {
				list = append(list, stack)
				break
			}
		}
	}
	return list
}

func TestAMoveLeavesNothingBehind(t *testing.T) {
	for name, change := range map[string]func(b *bench){
		"moved":       func(b *bench) {},
		"rolled back": func(b *bench) { b.source.BudgetMs, b.source.PauseAt = 150, Draining },
		"stalled": func(b *bench) {
			b.source.BudgetMs = 150
			b.ask = func(context.Context) error { b.valve.close(); return nil }
		},
		"refused":      func(b *bench) { b.ask = func(context.Context) error { return errors.New("no") } },
		"too much RAM": func(b *bench) { b.destination.RAMBytes = 1 << 20 },
		"not loaded":   func(b *bench) { b.dst.failLoad = true },
	} {
		b := newBench(t)
		change(b)
		b.begin()
		b.result(0)
		b.valve.open()
		b.result(1)
		for end := time.Now().Add(5 * time.Second); len(atWork()) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: goroutines are left:\n%s", name, strings.Join(atWork(), "\n\n"))
			}
		}
	}
}

func TestConnectionsAreSpreadOverTheAddressesThatAnswer(t *testing.T) {
	listen := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		t.Cleanup(func() { l.Close() })
		return l.Addr().String()
	}
	a, b := listen(), listen()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	dead := gone.Addr().String()
	gone.Close()
	for _, c := range []struct {
		name      string
		addresses []string
		n         int
		want      []string // peers; nil for an error
	}{
		{"both LANs", []string{a, b}, 2, []string{a, b}},
		{"three over two", []string{a, b}, 3, []string{a, b, a}},
		{"the first LAN is down", []string{dead, b}, 2, []string{b, b}},
		{"the second LAN is down", []string{a, dead}, 2, []string{a, a}},
		{"both are down", []string{dead, dead}, 2, nil},
		{"no address", nil, 2, nil},
	} {
		to, err := dialAll(c.addresses, c.n)
		var got []string
		for _, x := range to.conns {
			got = append(got, x.RemoteAddr().String())
			x.Close()
		}
		if strings.Join(got, " ") != strings.Join(c.want, " ") || (err == nil) != (c.want != nil) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestAWriteToALinkThatTakesNothingEnds(t *testing.T) {
	c, peer, raw := linked(t)
	defer raw.Close()
	defer peer.Cut()
	var err error
	o, begun := newOutlet(c), time.Now()
	for err == nil && time.Since(begun) < 20*time.Second {
		err = o.write(link.Frame{Type: link.Pages, Body: make([]byte, 64<<10)}, 100*time.Millisecond)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("write() = %v after %v; want the deadline", err, time.Since(begun))
	}
}
