package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Client talks to one host's daemon.
type Client struct {
	name string
	http *http.Client
	// For errors: the unix socket, "" for a host elsewhere; the caller's own
	// certificate, and that of the authority, "" where there is no need to name them.
	socket, cert, ca string
}

// secondLAN: a connection over LAN B is tried when LAN A has not answered for
// that long.
const secondLAN = 200 * time.Millisecond

// NewClient makes a client for a host by its addresses, LAN A first.
func NewClient(host string, addresses []string, port int, config *tls.Config) *Client {
	config = config.Clone()
	config.ServerName = host
	var targets []string
	for _, a := range addresses {
		targets = append(targets, net.JoinHostPort(a, strconv.Itoa(port)))
	}
	return &Client{name: host, http: &http.Client{Transport: &http.Transport{
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return dialEither(ctx, targets) },
		TLSClientConfig: config, TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 2, IdleConnTimeout: idleWait / 2,
	}}}
}

// WithFiles names the files of the certificates, for errors.
func (c *Client) WithFiles(cert, ca string) *Client {
	c.cert, c.ca = cert, ca
	return c
}

// NewLocalClient talks to this host's daemon over its unix socket.
func NewLocalClient(socket string) *Client {
	return &Client{name: "this host", socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		DisableKeepAlives: true,
	}}}
}

// NewAbsentClient stands for a host that the site file does not have: no call
// reaches it.
func NewAbsentClient(host string) *Client {
	return &Client{name: host, http: &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("this host's site file does not have it: put the same file on every host")
		}}}}
}

// dialEither connects over the first address, and over the next ones too when
// it does not answer at once: the first connection wins.
func dialEither(ctx context.Context, targets []string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	type attempt struct {
		conn net.Conn
		err  error
	}
	results := make(chan attempt, len(targets))
	for i, target := range targets {
		go func() {
			select {
			case <-time.After(time.Duration(i) * secondLAN):
			case <-ctx.Done():
			}
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", target)
			results <- attempt{c, err}
		}()
	}
	var errs []error
	for i := range targets {
		a := <-results
		if a.err == nil {
			go closeRest(results, i+1, len(targets), func(a attempt) net.Conn { return a.conn })
			return a.conn, nil
		}
		errs = append(errs, a.err)
	}
	return nil, errors.Join(errs...)
}

// closeRest closes connections that came second.
func closeRest[T any](results <-chan T, from, to int, conn func(T) net.Conn) {
	for range to - from {
		if c := conn(<-results); c != nil {
			c.Close()
		}
	}
}

func (c *Client) post(ctx context.Context, verb string, in any) (*http.Response, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", verb, c.name, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url()+verb, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreached(verb, err)
	}
	if answer.StatusCode == http.StatusOK {
		return answer, nil
	}
	defer answer.Body.Close()
	var refusal Refusal
	if json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(&refusal) != nil || refusal.Text == "" {
		return nil, fmt.Errorf("%s on %s: HTTP status %s", verb, c.name, answer.Status)
	}
	if refusal.Code == "failed" {
		return nil, fmt.Errorf("%s on %s: %s", verb, c.name, refusal.Text)
	}
	return nil, &refusal
}

func (c *Client) url() string {
	if t, ok := c.http.Transport.(*http.Transport); ok && t.TLSClientConfig != nil {
		return "https://bumpless/v1/"
	}
	return "http://bumpless/v1/"
}

func call[Out any](ctx context.Context, c *Client, verb string, in any) (Out, error) {
	var out Out
	answer, err := c.post(ctx, verb, in)
	if err != nil {
		return out, err
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(io.LimitReader(answer.Body, 16*maxBody)).Decode(&out); err != nil {
		return out, fmt.Errorf("%s on %s: the answer: %w", verb, c.name, err)
	}
	return out, nil
}

// Status implements Backend, as do the methods below.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return call[Status](ctx, c, "status", Nothing{})
}

// Move begins a move. The caller is who the connection proves.
func (c *Client) Move(ctx context.Context, _ Caller, r MoveRequest) (Accepted, error) {
	return call[Accepted](ctx, c, "move", r)
}

// Drain takes a host out of service.
func (c *Client) Drain(ctx context.Context, _ Caller, r HostRequest) (Accepted, error) {
	return call[Accepted](ctx, c, "drain", r)
}

// Resume takes a host back into service.
func (c *Client) Resume(ctx context.Context, _ Caller, r HostRequest) (Accepted, error) {
	return call[Accepted](ctx, c, "resume", r)
}

// Explain asks why.
func (c *Client) Explain(ctx context.Context, r ExplainRequest) ([]Explanation, error) {
	return call[[]Explanation](ctx, c, "explain", r)
}

// Events asks for what happened.
func (c *Client) Events(ctx context.Context, r EventsRequest) ([]Event, error) {
	return call[[]Event](ctx, c, "events", r)
}

// Progress follows a move.
func (c *Client) Progress(ctx context.Context, r ProgressRequest, tell func(Progress)) error {
	return eachLine(ctx, c, "progress", r, tell, endOfProgress)
}

// LocalProgress follows gateways on the called host.
func (c *Client) LocalProgress(ctx context.Context, r ProgressRequest, tell func(Progress)) error {
	return eachLine(ctx, c, "host/progress", r, tell, endOfProgress)
}

// Trace records a guest of the called host. The caller is who the connection
// proves.
func (c *Client) Trace(ctx context.Context, _ Caller, r TraceRequest, tell func(TraceLine)) error {
	return eachLine(ctx, c, "trace", r, tell, func(l TraceLine) (bool, string) { return l.Final, failure(l.Phase, l.Reason) })
}

func endOfProgress(p Progress) (final bool, failed string) {
	return p.Final, failure(p.Phase, p.Reason)
}

// failure that a line tells, "" for none.
func failure(phase, reason string) string {
	if phase != "error" {
		return ""
	}
	return reason
}

// eachLine hands on lines of JSON until the last one; end says whether a line is
// it, or tells of a failure.
func eachLine[Line any](ctx context.Context, c *Client, verb string, r any, tell func(Line), end func(Line) (final bool, failed string)) error {
	answer, err := c.post(ctx, verb, r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxBody)
	for lines.Scan() {
		var l Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("%s on %s: %w", verb, c.name, err)
		}
		final, failed := end(l)
		if failed != "" {
			return errors.New(failed)
		}
		tell(l)
		if final {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s on %s: %w", verb, c.name, err)
	}
	return fmt.Errorf("%s on %s: %w", verb, c.name, io.ErrUnexpectedEOF)
}

// Commit tells the move's destination that its source has committed.
func (c *Client) Commit(ctx context.Context, r CommitRequest) (CommitAnswer, error) {
	return call[CommitAnswer](ctx, c, "host/commit", r)
}

// Lease asks the leader for a lease.
func (c *Client) Lease(ctx context.Context, r LeaseRequest) (LeaseAnswer, error) {
	return call[LeaseAnswer](ctx, c, "host/lease", r)
}

// Propose enters a command through the leader.
func (c *Client) Propose(ctx context.Context, r ProposeRequest) (ProposeAnswer, error) {
	return call[ProposeAnswer](ctx, c, "host/propose", r)
}

// Abilities of the called host.
func (c *Client) Abilities(ctx context.Context) (json.RawMessage, error) {
	return call[json.RawMessage](ctx, c, "host/abilities", Nothing{})
}
