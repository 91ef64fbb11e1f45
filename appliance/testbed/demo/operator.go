package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"bumpless/appliance/testbed"
)

// operator sits at a host's serial port, types, and reads.
type operator struct {
	host string
	port *testbed.Terminal

	mu   sync.Mutex
	read string
}

// maxRead bounds what is kept of the port's output, in bytes.
const maxRead = 1 << 20

func newOperator(host string, port *testbed.Terminal, show io.Writer) *operator {
	o := &operator{host: host, port: port}
	go o.listen(show)
	return o
}

func (o *operator) listen(show io.Writer) {
	b := make([]byte, 4096)
	for {
		n, err := o.port.Read(b)
		if err != nil {
			return // the port was closed
		}
		text := string(b[:n])
		o.mu.Lock()
		if len(o.read) < maxRead {
			o.read += text
		}
		o.mu.Unlock()
		fmt.Fprint(show, text)
	}
}

// do types a line and waits for the next prompt; it returns what came between.
func (o *operator) do(ctx context.Context, line string) (string, error) {
	o.mu.Lock()
	from := len(o.read)
	o.mu.Unlock()
	if _, err := io.WriteString(o.port, line+"\r"); err != nil {
		return "", fmt.Errorf("type at the console of %s: %w", o.host, err)
	}
	for {
		o.mu.Lock()
		said := o.read[from:]
		o.mu.Unlock()
		// The first line is the echo of what was typed.
		if _, answer, echoed := strings.Cut(said, "\n"); echoed && strings.HasSuffix(answer, o.host+"> ") {
			return strings.TrimSuffix(answer, o.host+"> "), nil
		}
		select {
		case <-ctx.Done():
			return said, fmt.Errorf("wait for the console of %s after %q: %w; it said %q", o.host, line, ctx.Err(), said)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// attention waits until the console answers an empty line with its prompt.
func (o *operator) attention(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		short, stop := context.WithTimeout(ctx, 2*time.Second)
		_, err := o.do(short, "")
		stop()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
}
