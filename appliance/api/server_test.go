package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bumpless/appliance/pki"
	"bumpless/migrate/link"
)

// fake is both backends; it notes who asked for what.
type fake struct {
	mu    sync.Mutex
	asked []string
}

func (f *fake) note(verb string, by Caller) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, verb+" by "+by.Name+" "+by.Role)
}

func (f *fake) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fake) Status(context.Context) (Status, error) { return Status{Site: "north"}, nil }
func (f *fake) Move(_ context.Context, by Caller, r MoveRequest) (Accepted, error) {
	f.note("move", by)
	if r.Guest == "none" {
		return Accepted{}, &Refusal{Code: "unknown", Text: "no guest none"}
	}
	if r.Guest == "broken" {
		return Accepted{}, errors.New("the disk is full")
	}
	return Accepted{Move: r.Guest + "-1"}, nil
}
func (f *fake) Drain(_ context.Context, by Caller, _ HostRequest) (Accepted, error) {
	f.note("drain", by)
	return Accepted{}, nil
}
func (f *fake) Resume(_ context.Context, by Caller, _ HostRequest) (Accepted, error) {
	f.note("resume", by)
	return Accepted{}, nil
}
func (f *fake) Explain(context.Context, ExplainRequest) ([]Explanation, error) { return nil, nil }
func (f *fake) Events(context.Context, EventsRequest) ([]Event, error)         { return nil, nil }
func (f *fake) Progress(_ context.Context, _ ProgressRequest, tell func(Progress)) error {
	tell(Progress{Phase: "stream", Pass: &Pass{Number: 1}})
	tell(Progress{Phase: "finished", Outcome: "moved", Final: true})
	return nil
}
func (f *fake) Trace(_ context.Context, by Caller, r TraceRequest, tell func(TraceLine)) error {
	f.note("trace", by)
	if r.Guest == "none" {
		return &Refusal{Code: "unknown", Text: "no guest none"}
	}
	tell(TraceLine{Phase: "stream", Pass: 1, Pages: 100})
	if r.Guest == "broken" {
		return errors.New("the guest was stopped")
	}
	tell(TraceLine{Phase: "file", Chunk: []byte("BT")})
	tell(TraceLine{Phase: "file", Chunk: []byte("RC"), Final: true})
	return nil
}
func (f *fake) Lease(_ context.Context, host string, _ LeaseRequest) (LeaseAnswer, error) {
	f.note("host/lease", Caller{Name: host, Role: HostRole})
	return LeaseAnswer{Granted: true}, nil
}
func (f *fake) Propose(context.Context, string, ProposeRequest) (ProposeAnswer, error) {
	return ProposeAnswer{}, nil
}
func (f *fake) Abilities(context.Context) (json.RawMessage, error) {
	return json.RawMessage(`{}`), nil
}
func (f *fake) Commit(_ context.Context, host string, r CommitRequest) (CommitAnswer, error) {
	f.note("host/commit of "+r.Move, Caller{Name: host, Role: HostRole})
	return CommitAnswer{Runs: true}, nil
}
func (f *fake) LocalProgress(ctx context.Context, r ProgressRequest, tell func(Progress)) error {
	return f.Progress(ctx, r, tell)
}

// site is a server on loopback with the certificates of a site.
type site struct {
	t    *testing.T
	pki  string
	port int
	fake *fake
	log  logged
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, pki: t.TempDir(), fake: &fake{}}
	a, err := pki.Init(s.pki, "north")
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"host-a", "host-b"} {
		if err := a.Host(host, net.IPv4(127, 0, 0, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, role := range pki.Roles {
		if err := a.Operator(strings.ToLower(role), role); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	server := NewServer("host-a", s.fake, s.fake, slog.New(slog.NewTextHandler(&s.log, nil)))
	done := make(chan error, 1)
	go func() { done <- server.Serve(l, s.tls(s.pki, "host-a")) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v; want nil after Close", err)
		}
	})
	return s
}

func (s *site) tls(dir, name string) *tls.Config {
	s.t.Helper()
	f := func(end string) string { return filepath.Join(dir, end) }
	c, err := link.Files{Cert: f(name + ".crt"), Key: f(name + ".key"), CA: f("ca.crt")}.Load()
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *site) client(name string) *Client {
	return NewClient("host-a", []string{"127.0.0.1"}, s.port, s.tls(s.pki, name))
}

// call one verb with an empty request; nil when it was allowed.
func (c *Client) try(verb string) error {
	answer, err := c.post(context.Background(), verb, Nothing{})
	if err == nil {
		answer.Body.Close()
	}
	return err
}

func TestEveryVerbNeedsARoleOfTheTable(t *testing.T) {
	s := newSite(t)
	callers := map[string]*Client{HostRole: s.client("host-b")}
	for _, role := range pki.Roles {
		callers[role] = s.client(strings.ToLower(role))
	}
	for verb, roles := range Verbs {
		for role, c := range callers {
			err := c.try(verb)
			var r *Refusal
			forbidden := errors.As(err, &r) && r.Code == "role"
			if want := !slices.Contains(roles, role); forbidden != want {
				t.Errorf("%s as %s = %v; want refused = %v", verb, role, err, want)
			}
			if forbidden && !strings.Contains(r.Text, fmt.Sprint(roles)) {
				t.Errorf("%s as %s = %q; want the roles %v named", verb, role, r.Text, roles)
			}
		}
	}
}

// The table itself: what it says is part of the threat model.
func TestOnlyOperatorsAndEngineersOrder(t *testing.T) {
	for verb, roles := range Verbs {
		for _, role := range append(slices.Clone(pki.Roles), HostRole) {
			want := true
			switch {
			case strings.HasPrefix(verb, "host/"):
				want = role == HostRole
			case verb == "move" || verb == "drain" || verb == "resume" || verb == "trace":
				want = role == Operator || role == Engineer
			}
			if got := slices.Contains(roles, role); got != want {
				t.Errorf("Verbs[%s] has %s: %v; want %v", verb, role, got, want)
			}
		}
	}
	if err := Allow(Caller{Name: "x", Role: Engineer}, "format"); err == nil {
		t.Error("Allow() lets a verb pass that the table does not have")
	}
}

func TestTheCertificateSaysWhoCalls(t *testing.T) {
	s := newSite(t)
	// What the client says of itself does not count.
	if _, err := s.client("operator").Move(context.Background(), Caller{Name: "root", Role: Engineer}, MoveRequest{Guest: "main1", To: "host-b"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.client("host-b").Lease(context.Background(), LeaseRequest{}); err != nil {
		t.Fatal(err)
	}
	if a, err := s.client("host-a").Commit(context.Background(), CommitRequest{Move: "main1-4"}); err != nil || !a.Runs {
		t.Fatalf("Commit() = %+v, %v; want the backend's answer", a, err)
	}
	if got, want := s.fake.all(), []string{"move by operator OPERATOR", "host/lease by host-b HOST", "host/commit of main1-4 by host-a HOST"}; !slices.Equal(got, want) {
		t.Errorf("the backend saw %q; want %q", got, want)
	}
}

func TestARefusalKeepsItsCodeAndAFailureIsNone(t *testing.T) {
	s := newSite(t)
	c := s.client("operator")
	_, err := c.Move(context.Background(), Caller{}, MoveRequest{Guest: "none"})
	var r *Refusal
	if !errors.As(err, &r) || r.Code != "unknown" || r.Text != "no guest none" {
		t.Errorf("Move(none) = %v; want the refusal", err)
	}
	_, err = c.Move(context.Background(), Caller{}, MoveRequest{Guest: "broken"})
	if errors.As(err, &r) && r.Code != "unknown" || err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("Move(broken) = %v; want a failure with its cause", err)
	}
}

func TestProgressComesLineByLineToItsEnd(t *testing.T) {
	s := newSite(t)
	var phases []string
	err := s.client("viewer").Progress(context.Background(), ProgressRequest{Move: "main1-1"}, func(p Progress) { phases = append(phases, p.Phase) })
	if want := []string{"stream", "finished"}; err != nil || !slices.Equal(phases, want) {
		t.Errorf("Progress() told %q, %v; want %q", phases, err, want)
	}
}

func TestATraceComesInChunksAndARefusalKeepsItsCode(t *testing.T) {
	s := newSite(t)
	c := s.client("operator")
	trace := func(guest string) (file string, err error) {
		err = c.Trace(context.Background(), Caller{}, TraceRequest{Guest: guest, Seconds: 3}, func(l TraceLine) { file += string(l.Chunk) })
		return file, err
	}
	if file, err := trace("main1"); err != nil || file != "BTRC" {
		t.Errorf("Trace() = %q, %v; want the whole file", file, err)
	}
	var r *Refusal
	if _, err := trace("none"); !errors.As(err, &r) || r.Code != "unknown" {
		t.Errorf("Trace(none) = %v; want the refusal", err)
	}
	if _, err := trace("broken"); err == nil || errors.As(err, &r) && r.Code != "unknown" || !strings.Contains(err.Error(), "was stopped") {
		t.Errorf("Trace(broken) = %v; want a failure with its cause", err)
	}
	if got := s.fake.all(); len(got) != 3 || got[0] != "trace by operator OPERATOR" {
		t.Errorf("the backend saw %q; want three traces by operator", got)
	}
}

// raw posts a body as an operator would who wrote a client of his own.
func (s *site) raw(verb string, body io.Reader) (*http.Response, string, error) {
	config := s.tls(s.pki, "operator")
	config.ServerName = "host-a"
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	r, err := http.NewRequest(http.MethodPost, fmt.Sprintf("https://127.0.0.1:%d/v1/%s", s.port, verb), body)
	if err != nil {
		return nil, "", err
	}
	r.ContentLength = -1 // nobody is told the size beforehand
	answer, err := c.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer, string(text), err
}

func TestWhatIsNotUnderstoodIsRefusedAndNotOrdered(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		what, verb, body string
		status           int
		want             string
	}{
		{"unknown field", "move", `{"guest":"main1","to":"host-b","rehearse":true}`, 400, `unknown field \"rehearse\"`},
		{"another field's type", "move", `{"guest":7}`, 400, "malformed"},
		{"no JSON", "move", `guest=main1`, 400, "malformed"},
		{"nothing", "move", ``, 400, "malformed"},
		{"cut off", "move", `{"guest":"main1","to":"ho`, 400, "malformed"},
		{"two requests", "drain", `{"host":"host-a"}{"host":"host-b"}`, 400, "malformed"},
		{"oversized", "move", `{"guest":"` + strings.Repeat("x", 2*maxBody) + `"}`, 400, "longer than 1 MiB"},
		{"oversized blanks", "drain", `{"host":"host-a"}` + strings.Repeat(" ", 2*maxBody), 400, "longer than 1 MiB"},
		{"unknown verb", "format", `{}`, 404, ""},
	} {
		answer, text, err := s.raw(c.verb, strings.NewReader(c.body))
		if err != nil || answer.StatusCode != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %v, %v, %s; want %d with %q", c.what, answer, err, text, c.status, c.want)
		}
	}
	if asked := s.fake.all(); len(asked) > 0 {
		t.Errorf("the backend saw %q; want nothing", asked)
	}
}

func TestStrangersDoNotGetIn(t *testing.T) {
	s := newSite(t)
	other := t.TempDir()
	a, err := pki.Init(other, "north")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Operator("engineer", "ENGINEER"); err != nil {
		t.Fatal(err)
	}
	stranger := s.tls(other, "engineer")
	stranger.RootCAs = s.tls(s.pki, "operator").RootCAs // it trusts us; we must not trust it
	nobody := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: stranger.RootCAs}
	old := s.tls(s.pki, "operator")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for what, config := range map[string]*tls.Config{"another authority": stranger, "no certificate": nobody, "TLS 1.2": old} {
		if err := NewClient("host-a", []string{"127.0.0.1"}, s.port, config).try("status"); err == nil {
			t.Errorf("%s: status is answered; want it refused", what)
		}
	}
	if err := NewClient("host-b", []string{"127.0.0.1"}, s.port, s.tls(s.pki, "operator")).try("status"); err == nil {
		t.Error("a client that wants host-b talks to host-a")
	}
	// An operator's certificate must not do as a host's: its key lies on a laptop.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer("host-a", s.fake, s.fake, slog.New(slog.NewTextHandler(io.Discard, nil)))
	go server.Serve(l, s.tls(s.pki, "engineer"))
	defer server.Close()
	if err := NewClient("engineer", []string{"127.0.0.1"}, l.Addr().(*net.TCPAddr).Port, s.tls(s.pki, "operator")).try("status"); err == nil {
		t.Error("an engineer's certificate serves as a host's")
	}
}

func TestRootOfTheHostIsAnEngineerAtTheSocket(t *testing.T) {
	f := &fake{}
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer("host-a", f, f, slog.New(slog.NewTextHandler(io.Discard, nil)))
	go server.Serve(l, nil)
	defer server.Close()
	if _, err := NewLocalClient(path).Drain(context.Background(), Caller{}, HostRequest{Host: "host-a"}); err != nil {
		t.Fatal(err)
	}
	if err := NewLocalClient(path).try("host/lease"); err == nil {
		t.Error("the socket gives leases; want hosts only")
	}
	if got, want := f.all(), []string{"drain by " + userName(uint32(os.Getuid())) + "@host-a ENGINEER"}; !slices.Equal(got, want) {
		t.Errorf("the backend saw %q; want %q", got, want)
	}
}

func TestAsHoldsACallerToTheTable(t *testing.T) {
	f := &fake{}
	b := As(f, Caller{Name: "console@host-a", Role: Viewer}, slog.New(slog.DiscardHandler))
	ctx := context.Background()
	_, moved := b.Move(ctx, Caller{Name: "x", Role: Engineer}, MoveRequest{})
	_, drained := b.Drain(ctx, Caller{}, HostRequest{})
	_, resumed := b.Resume(ctx, Caller{}, HostRequest{})
	for verb, err := range map[string]error{"move": moved, "drain": drained, "resume": resumed} {
		var r *Refusal
		if !errors.As(err, &r) || r.Code != "role" {
			t.Errorf("%s as VIEWER = %v; want refused", verb, err)
		}
	}
	if s, err := b.Status(ctx); err != nil || s.Site != "north" {
		t.Errorf("Status() as VIEWER = %v, %v; want the status", s, err)
	}
	if err := As(f, Caller{Name: "x", Role: "GUEST"}, slog.New(slog.DiscardHandler)).Progress(ctx, ProgressRequest{}, func(Progress) { t.Error("told") }); err == nil {
		t.Error("Progress() as GUEST is not refused")
	}
	var told bytes.Buffer
	if err := b.Progress(ctx, ProgressRequest{}, func(p Progress) { told.WriteString(p.Phase + " ") }); err != nil || told.String() != "stream finished " {
		t.Errorf("Progress() as VIEWER told %q, %v", told.String(), err)
	}
	if asked := f.all(); len(asked) > 0 {
		t.Errorf("the backend saw %q; want nothing", asked)
	}
}
