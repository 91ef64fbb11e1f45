package main

import (
	"errors"
	"fmt"
	"net"
	"time"

	"bumpless/appliance/testbed"
)

// A link is filled for rateTime to measure it, after TCP has found its pace and
// the first burst has passed unshaped.
const (
	rateTime = time.Second
	warmUp   = 500 * time.Millisecond
)

// setLink shapes the link both ways and measures what one TCP connection gets
// through it, in bytes of payload per second.
func (g *rig) setLink(l cable) error {
	for _, host := range hosts {
		if err := g.Bed.SetLink(host, lan, l.bitsPerS); err != nil {
			return err
		}
	}
	if err := g.setDelay(time.Duration(l.rttMs) * time.Millisecond / 2); err != nil {
		return err
	}
	rate, err := g.measureRate()
	if err != nil {
		return fmt.Errorf("measure the link %s: %w", l.name, err)
	}
	g.cable, g.bytesPerS = l, rate
	return nil
}

func (g *rig) setDelay(oneWay time.Duration) (err error) {
	if g.endDelay != nil {
		if err := g.endDelay(); err != nil {
			return err
		}
		g.endDelay = nil
	}
	if oneWay > 0 {
		g.endDelay, err = g.Bed.Delay(hosts[0], lan, oneWay)
	}
	return err
}

func (g *rig) measureRate() (float64, error) {
	var listener net.Listener
	err := g.Bed.Host(hosts[1]).InNetwork(func() (err error) {
		listener, err = net.Listen("tcp", g.address(hosts[1])+":0")
		return err
	})
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	var sender net.Conn
	err = g.Bed.Host(hosts[0]).InNetwork(func() (err error) {
		sender, err = net.DialTimeout("tcp", listener.Addr().String(), rateTime)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer sender.Close()
	receiver, err := listener.Accept()
	if err != nil {
		return 0, err
	}
	defer receiver.Close()
	go func() {
		b := make([]byte, 256<<10)
		for {
			if _, err := sender.Write(b); err != nil {
				return // closed at the end of this function
			}
		}
	}()
	return receiveFor(receiver, rateTime)
}

// receiveFor returns the rate at which bytes arrive during d, after warmUp.
func receiveFor(c net.Conn, d time.Duration) (float64, error) {
	b := make([]byte, 256<<10)
	began := time.Now().Add(warmUp)
	if err := c.SetReadDeadline(began.Add(d)); err != nil {
		return 0, err
	}
	var sum int64
	for {
		n, err := c.Read(b)
		if time.Now().After(began) {
			sum += int64(n)
		}
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return float64(sum) / d.Seconds(), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// lan is the one link between the hosts that carries migrations: QEMU can use
// no more than one, and ours get no more than it does.
const lan = testbed.LANA

func (g *rig) address(host string) string { return g.Address(host, lan) }
