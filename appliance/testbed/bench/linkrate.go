package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"bumpless/appliance/testbed"
)

// rateTime that a link is filled for, to measure it.
const rateTime = time.Second

// setLink shapes the link both ways and measures what one TCP connection gets
// through it, in bytes of payload per second.
func (g *rig) setLink(l cable) error {
	for _, host := range hosts {
		if err := g.bed.SetLink(host, lan, l.bitsPerS); err != nil {
			return err
		}
	}
	rate, err := g.measureRate()
	if err != nil {
		return fmt.Errorf("measure the link %s: %w", l.name, err)
	}
	g.cable, g.bytesPerS = l, rate
	return nil
}

func (g *rig) measureRate() (float64, error) {
	var listener net.Listener
	err := g.bed.Host(hosts[1]).InNetwork(func() (err error) {
		listener, err = net.Listen("tcp", g.address(hosts[1])+":0")
		return err
	})
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	var sender net.Conn
	err = g.bed.Host(hosts[0]).InNetwork(func() (err error) {
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

func receiveFor(c net.Conn, d time.Duration) (float64, error) {
	b := make([]byte, 256<<10)
	if _, err := io.ReadFull(c, b); err != nil { // the first burst passes unshaped
		return 0, err
	}
	began := time.Now()
	if err := c.SetReadDeadline(began.Add(d)); err != nil {
		return 0, err
	}
	var sum int64
	for {
		n, err := c.Read(b)
		sum += int64(n)
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return float64(sum) / time.Since(began).Seconds(), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// lan is the one link between the hosts that carries migrations: QEMU can use
// no more than one, and ours get no more than it does.
const lan = testbed.LANA

func (g *rig) address(host string) string { return testbed.Address(g.bed.Host(host).Number, lan) }
