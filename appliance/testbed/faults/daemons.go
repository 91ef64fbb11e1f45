package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bumpless/appliance/testbed"
	"bumpless/appliance/testbed/pair"
	"bumpless/migrate/gateway"
)

// daemons is the line between the two hosts' daemons over the LANs, for COMMIT
// that goes past the gateways (package gateway, "COMMIT, twice"). What strikes the
// links strikes it; the relays, which stand for what the gateways' connections
// meet, do not.
//
//	source's daemon ==TCP over LAN A, then B==> destination's: kills its gateway, continues the copy
type daemons struct {
	listeners []net.Listener
	addresses []string
}

// Bounds as a daemon's (appliance/node, commit.go).
const (
	againWait = time.Second
	secondLAN = 200 * time.Millisecond
)

// listen answers at the destination with what settle says.
func (d *daemons) listen(host *testbed.Host, addresses []string, settle func() string) error {
	for _, address := range addresses {
		var l net.Listener
		if err := host.InNetwork(func() (err error) { l, err = net.Listen("tcp", address); return err }); err != nil {
			return err
		}
		d.listeners, d.addresses = append(d.listeners, l), append(d.addresses, l.Addr().String())
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					if line, _ := bufio.NewReader(c).ReadString('\n'); line == commitLine {
						_, _ = fmt.Fprintln(c, settle()) // who asked may have given up
					}
				}()
			}
		}()
	}
	return nil
}

const (
	commitLine = "COMMIT\n"
	itRuns     = "it runs"
)

// commit asks from the source's network; it returns what was answered. The first answer
// counts: only of a LAN over which none comes the other one is waited for.
func (d *daemons) commit(host *testbed.Host) string {
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, len(d.addresses))
	for i, address := range d.addresses {
		go func() {
			time.Sleep(time.Duration(i) * secondLAN)
			text, err := ask(host, address)
			answers <- answer{text, err}
		}()
	}
	why, late := "no answer within "+againWait.String(), time.After(againWait)
	for range d.addresses {
		select {
		case a := <-answers:
			if a.err == nil {
				return a.text
			}
			why = a.err.Error()
		case <-late:
			return why
		}
	}
	return why
}

func ask(host *testbed.Host, address string) (string, error) {
	var c net.Conn
	err := host.InNetwork(func() (err error) { c, err = net.DialTimeout("tcp", address, againWait); return err })
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(againWait)) // an error shows in what follows
	if _, err := fmt.Fprint(c, commitLine); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(line), err
}

func (d *daemons) close() {
	for _, l := range d.listeners {
		l.Close()
	}
}

// answered to a COMMIT that was sent again.
type answered struct {
	text  string
	after time.Duration
}

// sendCommitAgain is the source's daemon: only behind the marker.
func (s *switchover) sendCommitAgain() (runs bool) {
	if _, err := os.Lstat(filepath.Join(s.dir, gateway.CommittedMarker)); err != nil {
		return false
	}
	began := time.Now()
	text := s.daemons.commit(s.h.Bed.Host(s.from))
	s.answer.Store(&answered{text, time.Since(began)})
	return text == itRuns
}

// commitUnheard is what the source's guard calls: no RUNNING.
func (s *switchover) commitUnheard() {
	if s.again.Answered() {
		s.source.Say("runs")
	} else {
		s.source.Kill() // the log decides
	}
}

// settleCommit is the destination's daemon, told by the source's or by the log.
func (s *switchover) settleCommit() string {
	if !s.arrival.Commit() {
		return "too late"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*againWait)
	defer cancel()
	runs, why := s.arrival.Settle(ctx, s.destination.Kill)
	if !runs {
		return why
	}
	return itRuns
}

// destinationEnds follows the destination's gateway, as its daemon does.
func (s *switchover) destinationEnds() {
	<-s.destination.Done
	r := s.destination.Result
	moved := r != nil && r.Outcome == gateway.Moved
	s.arrival.End(context.Background(), moved, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), againWait)
		defer cancel()
		return gateway.RunLoaded(ctx, s.h.Runners[s.to].MoveSocket(pair.Guest, s.incoming))
	})
	close(s.arrived)
}
