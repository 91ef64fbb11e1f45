package api

import (
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
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a request.
const (
	maxBody       = 1 << 20
	headerWait    = 5 * time.Second
	idleWait      = 60 * time.Second
	maxHeader     = 16 << 10
	requestWait   = 30 * time.Second
	maxPerRequest = "the request is longer than 1 MiB"
)

// Server answers on any number of listeners.
type Server struct {
	host string // whose daemon this is
	http *http.Server
	log  *slog.Logger
}

type callerKey struct{}

// NewServer makes the server of a host's daemon, for both kinds of callers.
func NewServer(host string, people Backend, peers HostBackend, log *slog.Logger) *Server {
	mux := http.NewServeMux()
	s := &Server{host: host, log: log, http: &http.Server{
		Handler: mux, ReadHeaderTimeout: headerWait, IdleTimeout: idleWait, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
	s.http.ConnContext = s.identify
	serve(s, mux, "status", func(ctx context.Context, _ Caller, _ Nothing) (Status, error) { return people.Status(ctx) })
	serve(s, mux, "explain", func(ctx context.Context, _ Caller, r ExplainRequest) ([]Explanation, error) {
		return people.Explain(ctx, r)
	})
	serve(s, mux, "events", func(ctx context.Context, _ Caller, r EventsRequest) ([]Event, error) { return people.Events(ctx, r) })
	serve(s, mux, "move", people.Move)
	serve(s, mux, "drain", people.Drain)
	serve(s, mux, "resume", people.Resume)
	follow(s, mux, "progress", progressOf(people.Progress), failedProgress)
	follow(s, mux, "trace", people.Trace, func(text string) TraceLine { return TraceLine{Phase: "error", Reason: text, Final: true} })
	serve(s, mux, "host/lease", func(ctx context.Context, c Caller, r LeaseRequest) (LeaseAnswer, error) {
		return peers.Lease(ctx, c.Name, r)
	})
	serve(s, mux, "host/propose", func(ctx context.Context, c Caller, r ProposeRequest) (ProposeAnswer, error) {
		return peers.Propose(ctx, c.Name, r)
	})
	serve(s, mux, "host/abilities", func(ctx context.Context, _ Caller, _ Nothing) (json.RawMessage, error) { return peers.Abilities(ctx) })
	serve(s, mux, "host/commit", func(ctx context.Context, c Caller, r CommitRequest) (CommitAnswer, error) {
		return peers.Commit(ctx, c.Name, r)
	})
	follow(s, mux, "host/progress", progressOf(peers.LocalProgress), failedProgress)
	return s
}

// Serve answers on a listener until Close: TLS with config, or a unix socket
// when config is nil.
func (s *Server) Serve(l net.Listener, config *tls.Config) error {
	if config != nil {
		config = config.Clone()
		config.NextProtos = []string{"http/1.1"}
		l = tls.NewListener(l, config)
	}
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the control API on %s: %w", l.Addr(), err)
}

// Close ends all connections.
func (s *Server) Close() error { return s.http.Close() }

// identify finds out who is on a unix socket, by the kernel's word. Over TLS
// the certificate says it later, when the handshake is done.
func (s *Server) identify(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		return ctx
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Getuid() {
		return ctx
	}
	// Root on the host may do anything to it anyway.
	return context.WithValue(ctx, callerKey{}, Caller{Name: userName(cred.Uid) + "@" + s.host, Role: Engineer})
}

func userName(uid uint32) string {
	if uid == 0 {
		return "root"
	}
	return fmt.Sprintf("uid-%d", uid) // the daemon's own, in a test
}

func callerOf(r *http.Request) (Caller, error) {
	if c, ok := r.Context().Value(callerKey{}).(Caller); ok {
		return c, nil
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return Caller{}, &Refusal{Code: "role", Text: "the caller has not proved who it is"}
	}
	subject := r.TLS.PeerCertificates[0].Subject
	if len(subject.OrganizationalUnit) != 1 {
		return Caller{}, &Refusal{Code: "role", Text: "the certificate of " + subject.CommonName + " names no role"}
	}
	return Caller{Name: subject.CommonName, Role: subject.OrganizationalUnit[0]}, nil
}

func prepare[In any](s *Server, w http.ResponseWriter, r *http.Request, verb string) (Caller, In, bool) {
	var in In
	c, err := callerOf(r)
	if err == nil {
		err = Allow(c, verb)
	}
	if err == nil {
		err = decode(http.MaxBytesReader(w, r.Body, maxBody), &in)
	}
	if err != nil {
		s.refused(r, verb, c, err)
		fail(w, err)
		return c, in, false
	}
	return c, in, true
}

func (s *Server) refused(r *http.Request, verb string, c Caller, err error) {
	logRefusal(s.log.With("from", r.RemoteAddr), verb, c, err)
}

// logRefusal names who was refused what, or whose request failed, once: at the
// daemon that was asked, whichever host decided.
func logRefusal(log *slog.Logger, verb string, c Caller, err error) {
	what := "request failed"
	if r := (*Refusal)(nil); errors.As(err, &r) {
		what = "request refused"
	}
	log.Warn(what, "verb", verb, "caller", c.Name, "role", c.Role, "error", err)
}

func decode(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		// What follows the request would be an order that nobody carries out.
		if _, err = d.Token(); err == nil {
			err = errors.New("something follows it")
		} else if errors.Is(err, io.EOF) {
			return nil
		}
	}
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return &Refusal{Code: "malformed", Text: maxPerRequest}
	}
	return &Refusal{Code: "malformed", Text: "the request is not understood: " + err.Error()}
}

func serve[In, Out any](s *Server, mux *http.ServeMux, verb string, do func(context.Context, Caller, In) (Out, error)) {
	mux.HandleFunc("POST /v1/"+verb, func(w http.ResponseWriter, r *http.Request) {
		c, in, ok := prepare[In](s, w, r, verb)
		if !ok {
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), requestWait)
		defer cancel()
		out, err := do(ctx, c, in)
		if err != nil {
			s.refused(r, verb, c, err)
			fail(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // the caller went away
	})
}

// progressOf is for those who tell everybody the same.
func progressOf(do func(context.Context, ProgressRequest, func(Progress)) error) func(context.Context, Caller, ProgressRequest, func(Progress)) error {
	return func(ctx context.Context, _ Caller, r ProgressRequest, tell func(Progress)) error {
		return do(ctx, r, tell)
	}
}

func failedProgress(text string) Progress {
	return Progress{AtMs: time.Now().UnixMilli(), Phase: "error", Reason: text, Final: true}
}

// follow answers with a line of JSON each time that do tells something. What fails
// before the first line is answered as by serve; later it is a line, made by
// failed.
func follow[In, Line any](s *Server, mux *http.ServeMux, verb string, do func(context.Context, Caller, In, func(Line)) error, failed func(text string) Line) {
	mux.HandleFunc("POST /v1/"+verb, func(w http.ResponseWriter, r *http.Request) {
		c, in, ok := prepare[In](s, w, r, verb)
		if !ok {
			return
		}
		out := json.NewEncoder(w)
		control := http.NewResponseController(w)
		begun := false
		tell := func(l Line) {
			if !begun {
				begun = true
				w.Header().Set("Content-Type", "application/jsonl")
				w.WriteHeader(http.StatusOK)
			}
			_ = out.Encode(l) // the caller went away
			_ = control.Flush()
		}
		err := do(r.Context(), c, in, tell)
		if err == nil || r.Context().Err() != nil {
			return
		}
		s.refused(r, verb, c, err)
		switch {
		case begun:
			tell(failed(err.Error()))
		default:
			fail(w, err)
		}
	})
}

// fail answers with the error; a Refusal keeps its code.
func fail(w http.ResponseWriter, err error) {
	var refusal *Refusal
	status := http.StatusConflict
	if !errors.As(err, &refusal) {
		refusal, status = &Refusal{Code: "failed", Text: err.Error()}, http.StatusInternalServerError
	}
	switch refusal.Code {
	case "role":
		status = http.StatusForbidden
	case "malformed":
		status = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal) // the caller went away
}
