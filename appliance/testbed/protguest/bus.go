package main

import (
	"fmt"
	"runtime"
	"time"

	"bumpless/appliance/testbed/protection"
	"bumpless/iec61850/ether"
	"bumpless/iec61850/goose"
	"bumpless/iec61850/sv"

	"golang.org/x/sys/unix"
)

func startBus(s protection.Settings, c *counters) error {
	conn, err := ether.Open("eth0", sv.EtherType)
	if err != nil {
		return err
	}
	go subscribe(conn, s, c)
	go publish(conn, s, c)
	return nil
}

// publish sends the data set every period, as a new state each time since its
// counters have changed. It owns a thread of high priority and sleeps by the
// system call, not by the Go scheduler, whose time slice is as long as the
// period. The priority is not a real-time one: Go's runtime spins where it
// expects another thread to go on shortly, and on a single CPU a real-time
// spinner keeps that thread from running (gaps of 1.2 to 1.9 s were seen).
func publish(conn *ether.Conn, s protection.Settings, c *counters) {
	runtime.LockOSThread()
	if err := unix.Setpriority(unix.PRIO_PROCESS, 0, -20); err != nil { // of this thread (sched(7))
		fmt.Println("protguest: no high priority:", err)
	}
	publisher := goose.NewPublisher(goose.Frame{APPID: s.GooseAPPID, PDU: goose.PDU{
		GocbRef: s.GocbRef, DatSet: s.GocbRef + "$ds", GoID: "protguest", ConfRev: 1,
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

// pickUp is the current above which the relay trips, in mA.
const pickUp = 5_000_000

func subscribe(conn *ether.Conn, s protection.Settings, c *counters) {
	loss := sv.Loss{Rate: s.SvRatePerS}
	for {
		f, err := conn.Receive(time.Time{})
		if err != nil {
			fmt.Println("protguest:", err)
			return
		}
		stream, err := sv.Unmarshal(f.Payload)
		if err != nil {
			continue
		}
		for _, a := range stream.ASDUs {
			if a.SvID != s.SvID {
				continue
			}
			loss.Receive(a.SmpCnt)
			if m, err := sv.DecodePhsMeas(a.SeqData); err == nil {
				c.trip.Store(m[0].Value > pickUp)
			}
		}
		c.samplesReceived.Store(loss.Received)
		c.samplesLost.Store(loss.Lost)
	}
}
