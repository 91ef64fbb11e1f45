package link

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// lowerEffort is DSCP 1, for what must stand back behind all else (RFC 8622), in
// the place it has in the IP header.
const lowerEffort = 1 << 2

// bulkPriority is TC_PRIO_BULK of linux/pkt_sched.h: the last of the three bands
// of pfifo_fast and prio. GOOSE and SV leave over sockets of priority 0 or more,
// before it.
const bulkPriority = 2

// standBack marks what the connection sends as less urgent than all else, on
// this host and on the path.
//
// A switch that trusts DSCP puts LE into its lowest queue, or with best effort
// if it knows nothing of RFC 8622 (its first three bits are those of CS0). One
// that goes by VLAN tags finds no priority here, and 4 in a GOOSE or SV frame
// (IEC 61850-8-1, annex C; 61850-9-2). Without queues it does nothing: pacing is
// what the service can rely on.
func standBack(c *net.TCPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	level, option := unix.IPPROTO_IP, unix.IP_TOS
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok && a.IP.To4() == nil {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
	}
	var marked, lowered error
	err = raw.Control(func(fd uintptr) {
		marked = unix.SetsockoptInt(int(fd), level, option, lowerEffort)
		// Behind the mark, which sets a priority of its own.
		lowered = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, bulkPriority)
	})
	return errors.Join(err, marked, lowered)
}

// Pace bounds what the connection sends from now on, in bytes of payload per
// second, TLS included. TCP spreads its packets itself (tcp(7) and socket(7),
// SO_MAX_PACING_RATE): the interface needs no fq, and what waits stays with us.
func (c Conn) Pace(bytesPerS float64) error {
	raw, err := c.raw.SyscallConn()
	if err == nil {
		var refused error
		err = raw.Control(func(fd uintptr) {
			refused = unix.SetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, uint64(max(1, bytesPerS)))
		})
		err = errors.Join(err, refused)
	}
	if err != nil {
		return fmt.Errorf("pace a connection: %w", err)
	}
	return nil
}

// Transmitted is what TCP has handed to the interface: bytes of payload and
// segments, what was sent again included. ok is false when the kernel does not
// say, as of a connection that is closed.
func (c Conn) Transmitted() (bytes, segments int64, ok bool) {
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			bytes, segments, ok = int64(info.Bytes_sent), int64(info.Segs_out), true
		}
	})
	return bytes, segments, ok && err == nil
}

// Local is this end of the connection.
func (c Conn) Local() *net.TCPAddr { return c.raw.LocalAddr().(*net.TCPAddr) }

// Remote is the peer's end.
func (c Conn) Remote() *net.TCPAddr { return c.raw.RemoteAddr().(*net.TCPAddr) }
