package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
)

// everyone who has a certificate of the site. Hosts' daemons are among them:
// a daemon passes on a question that its leader knows better.
var everyone = []string{Viewer, Operator, Engineer, "INSTALLER", "SECADM", "SECAUD", "RBACMNT", HostRole}

var operators = []string{Operator, Engineer}

var hosts = []string{HostRole}

// Verbs says which roles each verb needs, whichever way it comes in: over TLS,
// the unix socket or the serial port.
var Verbs = map[string][]string{
	"status":   everyone,
	"explain":  everyone,
	"events":   everyone,
	"progress": everyone,

	"move":   operators,
	"drain":  operators,
	"resume": operators,
	"trace":  operators, // it costs the host a core, and the guest some speed

	"host/lease":     hosts,
	"host/propose":   hosts,
	"host/abilities": hosts,
	"host/commit":    hosts,
	"host/progress":  hosts,
}

// Allow refuses a verb that the caller's role does not have, and says which
// roles have it. A verb that is not in the table is refused to everybody.
func Allow(c Caller, verb string) error {
	roles := Verbs[verb]
	if slices.Contains(roles, c.Role) {
		return nil
	}
	return &Refusal{Code: "role", Text: fmt.Sprintf("%s has the role %s; %s needs one of %v", c.Name, c.Role, verb, roles)}
}

// As is the backend as one caller sees it: every order is the caller's, is checked
// against Verbs, and a refusal is logged. It is for ways in that prove who calls by
// themselves, as the serial port does by where it is.
func As(b Backend, c Caller, log *slog.Logger) Backend { return as{b, c, log} }

type as struct {
	b   Backend
	c   Caller
	log *slog.Logger
}

func checked[In, Out any](a as, verb string, in In, do func(In) (Out, error)) (out Out, err error) {
	err = a.checked(verb, func() error {
		out, err = do(in)
		return err
	})
	return out, err
}

func (a as) checked(verb string, do func() error) error {
	err := Allow(a.c, verb)
	if err == nil {
		err = do()
	}
	if err != nil && !errors.Is(err, context.Canceled) { // who goes away is refused nothing
		logRefusal(a.log, verb, a.c, err)
	}
	return err
}

func (a as) Status(ctx context.Context) (Status, error) {
	return checked(a, "status", ctx, a.b.Status)
}

func (a as) Move(ctx context.Context, _ Caller, r MoveRequest) (Accepted, error) {
	return checked(a, "move", r, func(r MoveRequest) (Accepted, error) { return a.b.Move(ctx, a.c, r) })
}

func (a as) Drain(ctx context.Context, _ Caller, r HostRequest) (Accepted, error) {
	return checked(a, "drain", r, func(r HostRequest) (Accepted, error) { return a.b.Drain(ctx, a.c, r) })
}

func (a as) Resume(ctx context.Context, _ Caller, r HostRequest) (Accepted, error) {
	return checked(a, "resume", r, func(r HostRequest) (Accepted, error) { return a.b.Resume(ctx, a.c, r) })
}

func (a as) Explain(ctx context.Context, r ExplainRequest) ([]Explanation, error) {
	return checked(a, "explain", r, func(r ExplainRequest) ([]Explanation, error) { return a.b.Explain(ctx, r) })
}

func (a as) Events(ctx context.Context, r EventsRequest) ([]Event, error) {
	return checked(a, "events", r, func(r EventsRequest) ([]Event, error) { return a.b.Events(ctx, r) })
}

func (a as) Progress(ctx context.Context, r ProgressRequest, tell func(Progress)) error {
	return a.checked("progress", func() error { return a.b.Progress(ctx, r, tell) })
}

func (a as) Trace(ctx context.Context, _ Caller, r TraceRequest, tell func(TraceLine)) error {
	return a.checked("trace", func() error { return a.b.Trace(ctx, a.c, r, tell) })
}
