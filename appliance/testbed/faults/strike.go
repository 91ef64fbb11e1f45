package main

import (
	"errors"
	"fmt"
	"time"

	"bumpless/appliance/testbed/pair"
	"bumpless/migrate/gateway"

	"golang.org/x/sys/unix"
)

// onBothLANs does something to the destination's links, and heals it later.
func (s *switchover) onBothLANs(harm, heal func(host, lan string) error) error {
	var errs []error
	for _, lan := range lans {
		s.heal = append(s.heal, func() error { return heal(s.to, lan) })
		errs = append(errs, harm(s.to, lan))
	}
	return errors.Join(errs...)
}

func (s *switchover) stallLink() error { return s.onBothLANs(s.h.Bed.Stall, s.h.Bed.Heal) }

func (s *switchover) cutLink() error { return s.onBothLANs(s.h.Bed.Cut, s.h.Bed.Heal) }

// slowLink leaves a tenth of what the link carries.
func (s *switchover) slowLink() error {
	rate := func(bitsPerS int64) func(host, lan string) error {
		return func(host, lan string) error { return s.h.Bed.SetLink(host, lan, bitsPerS) }
	}
	return s.onBothLANs(rate(linkBitsPerS/10), rate(linkBitsPerS))
}

func (s *switchover) resetConnections() error {
	var errs []error
	for _, r := range s.relays {
		errs = append(errs, r.reset())
	}
	return errors.Join(errs...)
}

// behind is how late what one connection carries is against the other one.
const behind = 40 * time.Millisecond

// delayOneConnection lets frames overtake each other: those of connection 0, which
// has the control frames, or those of the other one, in turn.
func (s *switchover) delayOneConnection() error {
	s.relays[s.row.N/2%len(s.relays)].orders.delay.Store(int64(behind))
	return nil
}

func (s *switchover) loseOrders() error {
	for _, r := range s.relays {
		r.orders.deaf.Store(true)
	}
	return nil
}

func (s *switchover) loseAnswers() error {
	for _, r := range s.relays {
		r.answers.deaf.Store(true)
	}
	return nil
}

func (s *switchover) killDestination() error {
	return s.signalCopy(unix.SIGKILL)
}

func (s *switchover) signalCopy(signal unix.Signal) error {
	pid, err := s.h.PID(s.to, s.incoming)
	if err != nil {
		return err
	}
	return unix.Kill(pid, signal)
}

func (s *switchover) killSourceGateway() error { return s.source.Cmd.Process.Kill() }

func (s *switchover) killDestinationGateway() error { return s.destination.Cmd.Process.Kill() }

func (s *switchover) freezeSourceGateway() error { return s.freeze(s.source) }

func (s *switchover) freezeDestinationGateway() error { return s.freeze(s.destination) }

// freeze stops a gateway's process, as a debugger does, or a machine without
// memory.
func (s *switchover) freeze(g *pair.Gateway) error {
	s.heal = append(s.heal, func() error {
		select {
		case <-g.Done:
			return nil
		default:
			return g.Cmd.Process.Signal(unix.SIGCONT)
		}
	})
	return g.Cmd.Process.Signal(unix.SIGSTOP)
}

// exhaustMemory is about what fails when it asks for memory. Where the kernel has
// none left to give it kills (destination-qemu-killed, destination-gateway-killed),
// and a host that has too little is refused at admission (appliance/guest).
//
// It lets the destination's gateway, and its QEMU until that has loaded
// the guest, have no more memory than they have now (setrlimit(2), RLIMIT_DATA:
// Go and glibc have reserved addresses, which RLIMIT_AS counts, long before). A
// host that has none once the guest runs there is a lost host, and none of a
// move's: a QEMU that was limited at READY ran the guest, and then aborted.
func (s *switchover) exhaustMemory() error {
	err := limitMemory(s.destination.Cmd.Process.Pid, almostNothing)
	if p := s.trial.phase; p == gateway.AtReady || p == gateway.Committed {
		return err
	}
	pid, perr := s.h.PID(s.to, s.incoming)
	if err = errors.Join(err, perr); err != nil {
		return err
	}
	s.loaded = func() { _ = limitMemory(pid, unix.RLIM_INFINITY) } // it may have died of it
	return limitMemory(pid, almostNothing)
}

// almostNothing in bytes: Linux takes 0 for no limit (mm/mmap.c, may_expand_vm).
const almostNothing = 4096

func limitMemory(pid int, bytes uint64) error {
	limit := unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &limit, nil); err != nil {
		return fmt.Errorf("limit the memory of process %d: %w", pid, err)
	}
	return nil
}

// takeDisk is a third program that opens the image while nobody has locked it:
// the source has given it up, the destination takes it with `cont`. It lets go
// when the source is to go on, which could not run either otherwise.
func (s *switchover) takeDisk() error {
	f, err := takeLock(s.h.disk)
	if err != nil {
		return err
	}
	s.letGo = func() { f.Close() } // twice is harmless
	return nil
}
