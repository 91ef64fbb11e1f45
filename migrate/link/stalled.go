package link

import "golang.org/x/sys/unix"

// Stalled tells whether TCP has sent something again after a time-out and has
// got no answer since: at least 200 ms, its shortest time-out. A connection that
// is closed counts as stalled.
func (c Conn) Stalled() bool {
	stalled := true
	raw, err := c.raw.SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		stalled = err != nil || info.Retransmits > 0
	})
	return err != nil || stalled
}
