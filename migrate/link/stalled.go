package link

import (
	"math"

	"golang.org/x/sys/unix"
)

// Unanswered is how many time-outs TCP has had in a row, each after sending the
// same again; 0 as long as answers come. The first comes after 200 ms at least,
// the second 400 ms later. A connection that is closed has no answer to come.
func (c Conn) Unanswered() int {
	n := math.MaxInt
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return n
	}
	err = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n = int(info.Retransmits)
		}
	})
	if err != nil {
		return math.MaxInt
	}
	return n
}
