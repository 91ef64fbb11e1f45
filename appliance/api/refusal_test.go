package api

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// logged is a log that a test reads.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// take returns the lines since the last take.
func (l *logged) take() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines = strings.FieldsFunc(l.text.String(), func(r rune) bool { return r == '\n' })
	l.text.Reset()
	return lines
}

func TestRootIsNamedAsSuch(t *testing.T) {
	if got := userName(0); got != "root" {
		t.Errorf("userName(0) = %q; want root", got)
	}
}

func TestARefusalIsLoggedOnceWithWhoWasRefusedWhat(t *testing.T) {
	s, ctx := newSite(t), context.Background()
	var console logged
	port := As(s.fake, Caller{Name: "console@host-a", Role: Operator}, slog.New(slog.NewTextHandler(&console, nil)))
	for _, c := range []struct {
		what string
		log  *logged
		do   func() error
		want []string
	}{
		{"a move that the backend refuses, over TLS", &s.log, func() error {
			_, err := s.client("operator").Move(ctx, Caller{}, MoveRequest{Guest: "none", Insist: true})
			return err
		}, []string{"request refused", "verb=move", "caller=operator", "role=OPERATOR", "no guest none"}},
		{"a role that may not", &s.log, func() error {
			_, err := s.client("viewer").Drain(ctx, Caller{}, HostRequest{Host: "host-a"})
			return err
		}, []string{"request refused", "verb=drain", "caller=viewer", "role=VIEWER"}},
		{"a move that fails", &s.log, func() error {
			_, err := s.client("operator").Move(ctx, Caller{}, MoveRequest{Guest: "broken"})
			return err
		}, []string{"request failed", "caller=operator", "the disk is full"}},
		{"a trace that is refused", &s.log, func() error {
			return s.client("operator").Trace(ctx, Caller{}, TraceRequest{Guest: "none"}, func(TraceLine) {})
		}, []string{"request refused", "verb=trace", "caller=operator"}},
		{"a move that the backend refuses, at the serial port", &console, func() error {
			_, err := port.Move(ctx, Caller{}, MoveRequest{Guest: "none"})
			return err
		}, []string{"request refused", "verb=move", "caller=console@host-a", "role=OPERATOR", "no guest none"}},
	} {
		c.log.take()
		if err := c.do(); err == nil {
			t.Errorf("%s: no error; want it refused", c.what)
		}
		lines := c.log.take()
		for _, want := range c.want {
			if len(lines) != 1 || !strings.Contains(lines[0], want) {
				t.Errorf("%s: logged %q; want one line with %q", c.what, lines, want)
			}
		}
	}
}
