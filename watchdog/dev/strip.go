package dev

import (
	"bufio"
	"fmt"
	"net"
	"time"
)

// PowerStrip is the outlet of the test bed that feeds this host: it is switched
// off when it is not petted. To connect and to hang up pets nothing.
type PowerStrip struct {
	conn    net.Conn
	answers *bufio.Reader
	timeout time.Duration
}

// OpenPowerStrip connects to the outlet's socket. The first Pet arms it.
func OpenPowerStrip(path string, timeout time.Duration) (*PowerStrip, error) {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return nil, fmt.Errorf("connect to the power strip: %w", err)
	}
	return &PowerStrip{c, bufio.NewReader(c), timeout}, nil
}

// Pet restarts the countdown.
func (p *PowerStrip) Pet() error {
	if err := p.conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("pet the power strip: %w", err)
	}
	if _, err := fmt.Fprintf(p.conn, "pet %d\n", p.timeout.Milliseconds()); err != nil {
		return fmt.Errorf("pet the power strip: %w", err)
	}
	line, err := p.answers.ReadString('\n')
	if err != nil {
		return fmt.Errorf("pet the power strip: read its answer: %w", err)
	}
	if line != "ok\n" {
		return fmt.Errorf("pet the power strip: it answers %q", line)
	}
	return nil
}

// Close leaves the outlet armed.
func (p *PowerStrip) Close() error { return p.conn.Close() }
