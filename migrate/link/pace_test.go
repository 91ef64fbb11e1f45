package link

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func option(t *testing.T, c *net.TCPConn, level, name int) int {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var value int
	var failed error
	must(t, raw.Control(func(fd uintptr) { value, failed = unix.GetsockoptInt(int(fd), level, name) }))
	must(t, failed)
	return value
}

func TestAMovesConnectionsStandBackBehindAllElse(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil { // a machine without IPv6 has no such connection either
			if address == "127.0.0.1:0" {
				t.Fatal(err)
			}
			continue
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		must(t, err)
		defer c.Close()
		raw := c.(*net.TCPConn)
		must(t, tune(raw))
		level, name := unix.IPPROTO_IP, unix.IP_TOS
		if address != "127.0.0.1:0" {
			level, name = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
		}
		if got := option(t, raw, level, name); got>>2 != 1 {
			t.Errorf("%s: DSCP = %d; want 1, lower effort", address, got>>2)
		}
		if got := option(t, raw, unix.SOL_SOCKET, unix.SO_PRIORITY); got != bulkPriority {
			t.Errorf("%s: SO_PRIORITY = %d; want %d", address, got, bulkPriority)
		}
	}
}

// The first packets leave at once; after them the pace holds.
func TestAPacedConnectionSendsNoFaster(t *testing.T) {
	const pace, length = 4 << 20, 600 * time.Millisecond // pace in bytes per second
	client, server := loopback(t)
	c := Conn{raw: client}
	must(t, tune(client))
	must(t, c.Pace(pace))
	go func() {
		b := make([]byte, 64<<10)
		for {
			if _, err := server.Read(b); err != nil {
				return // the test is over
			}
		}
	}()
	before, _, ok := c.Transmitted()
	began, b := time.Now(), make([]byte, 64<<10)
	for time.Since(began) < length {
		_, err := client.Write(b)
		must(t, err)
	}
	after, segments, ok2 := c.Transmitted()
	if !ok || !ok2 || segments == 0 {
		t.Fatalf("Transmitted() = _, %d, %v, %v; want it known", segments, ok, ok2)
	}
	// Ten segments of loopback's 64 KiB may leave before the pace is known.
	limit := pace*time.Since(began).Seconds()*1.1 + 10*64<<10
	if sent := float64(after - before); sent > limit || sent < pace*0.2 {
		t.Errorf("%.0f bytes in %v; want at most %.0f", sent, time.Since(began), limit)
	}
}
