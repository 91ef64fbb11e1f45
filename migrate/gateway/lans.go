package gateway

import (
	"fmt"
	"net/netip"
	"time"
)

const (
	// deadTimeouts in a row are waited for on a LAN while another one answers: TCP's
	// come 0.2, 0.6, 1.4 and 3.0 s behind the first byte that is lost, where the path is
	// short. A link that is all there is gets writeWait.
	deadTimeouts = 4
	deadPoll     = 200 * time.Millisecond
)

// watchLANs ends a move one of whose LANs is dead, until the guest is to be stopped: the
// move would wait for it, and could go over the other one.
func (s *source) watchLANs() {
	ticker := time.NewTicker(deadPoll)
	defer ticker.Stop()
	for {
		select {
		case <-s.hurry:
			return
		case <-ticker.C:
		}
		if dead := deadLAN(s.send.paths()); dead.IsValid() {
			s.fail(brokenLink{fmt.Errorf("the connection to %s does not get through, another one does: look at that LAN", dead)})
			return
		}
	}
}

// path of a connection.
type path struct {
	to         netip.AddrPort
	unanswered int // time-outs in a row
}

func (s *sender) paths() (list []path) {
	for _, o := range s.conns {
		list = append(list, path{o.conn.Remote().AddrPort(), o.conn.Unanswered()})
	}
	return list
}

// deadLAN is where a path leads that does not get through while one to another address
// does; invalid when there is none.
func deadLAN(paths []path) netip.AddrPort {
	for _, dead := range paths {
		for _, p := range paths {
			if dead.unanswered >= deadTimeouts && p.unanswered == 0 && p.to != dead.to {
				return dead.to
			}
		}
	}
	return netip.AddrPort{}
}
