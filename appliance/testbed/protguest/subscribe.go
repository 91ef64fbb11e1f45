package main

import (
	"fmt"
	"time"

	"bumpless/appliance/testbed/protection"
	"bumpless/iec61850/ether"
	"bumpless/iec61850/sv"
)

func startSubscriber(s protection.Settings, c *counters) error {
	conn, err := ether.Open("eth0", sv.EtherType)
	if err != nil {
		return err
	}
	go subscribe(conn, s, c)
	return nil
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
				c.setTrip(m[0].Value > pickUp)
			}
		}
		c.samplesReceived.Store(loss.Received)
		c.samplesLost.Store(loss.Lost)
	}
}
