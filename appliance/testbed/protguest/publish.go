package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"bumpless/appliance/testbed/protection"
	"bumpless/iec61850/ether"
	"bumpless/iec61850/goose"

	"golang.org/x/sys/unix"
)

// publisherRole is the argument that makes this program the publisher.
const publisherRole = "publisher"

// publisherNice is the priority of the publishing process. It is not a
// real-time one: Go's runtime spins where it expects another thread to go on
// shortly, and on a single CPU a real-time spinner keeps that thread from
// running (gaps of 1.2 to 1.9 s were seen).
const publisherNice = -20

// startPublisher starts the publishing process. It is one of its own because
// a goroutine beside the memory writers is not woken in time: on return from
// its sleep it may wait in Go's global queue, which a busy scheduler looks at
// once in 61 rounds only (gaps of 280 ms, several a minute, were seen).
func startPublisher(shared *os.File) error {
	cmd := exec.Command("/proc/self/exe", publisherRole)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = []*os.File{shared}
	return startNice(cmd, publisherNice)
}

// startNice starts a process with a priority of its own, which it inherits from
// the thread that makes it.
func startNice(cmd *exec.Cmd, nice int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, nice); err != nil {
		return fmt.Errorf("set the priority of %s: %w", cmd.Path, err)
	}
	err := cmd.Start()
	if nerr := unix.Setpriority(unix.PRIO_PROCESS, 0, 0); err == nil && nerr != nil {
		err = nerr
	}
	return err
}

func runPublisher() error {
	settings, err := readSettings()
	if err != nil {
		return err
	}
	state, err := mapCounters(sharedFD)
	if err != nil {
		return err
	}
	conn, err := ether.Open("eth0") // for sending: it lets no frame in
	if err != nil {
		return err
	}
	publish(conn, settings, state)
	return nil
}

// publish sends the data set every period, as a new state each time since its
// counters have changed.
func publish(conn *ether.Conn, s protection.Settings, c *counters) {
	publisher := goose.NewPublisher(goose.Frame{APPID: s.GooseAPPID, PDU: goose.PDU{
		GocbRef: s.GocbRef, DatSet: s.GocbRef + "$ds", GoID: "protguest", ConfRev: protection.ConfRev,
	}}, goose.Timing{T1: s.GoosePeriod, T0: s.GoosePeriod, Lives: 3})
	start := time.Now()
	for next := time.Duration(0); ; next += s.GoosePeriod {
		if wait := next - time.Since(start); wait > 0 {
			ts := unix.NsecToTimespec(int64(wait))
			_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil) // early is harmless
		} else if wait < -s.GoosePeriod {
			next = time.Since(start) // late: go on from here, no burst
		}
		now := time.Since(start)
		publisher.Set(c.report().DataSet(), now, goose.At(time.Now(), goose.ClockNotSynchronised|goose.AccuracyUnspecified))
		send(conn, s, publisher, now)
	}
}

func send(conn *ether.Conn, s protection.Settings, p *goose.Publisher, now time.Duration) {
	frame, due := p.Poll(now)
	if !due {
		return
	}
	payload, err := goose.Marshal(frame)
	if err != nil {
		fmt.Println("protguest:", err)
		return
	}
	err = conn.Send(ether.Frame{Dst: s.GooseDst, VLAN: ether.VLAN{Present: true, Priority: 4, ID: s.GooseVLAN},
		EtherType: goose.EtherType, Payload: payload})
	if err != nil {
		fmt.Println("protguest:", err)
	}
}
