package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"bumpless/appliance/api"
)

// fakeDaemon notes what it is asked, and plays progress that was written down.
type fakeDaemon struct {
	mu     sync.Mutex
	asked  []string
	refuse error
	status *api.Status // nil: fakeStatus
	stays  int         // guests that a drain leaves
	plays  []api.Progress
	trace  []byte // what Trace records; broken off when hold is set
	// hold makes Progress wait for its context after it has played.
	hold bool
}

func (f *fakeDaemon) note(verb string, by api.Caller, r any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	b, err := json.Marshal(r)
	if err != nil {
		panic(err)
	}
	f.asked = append(f.asked, fmt.Sprintf("%s %s%s", verb, by.Role, b))
	return f.refuse
}

func (f *fakeDaemon) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.asked...)
}

func (f *fakeDaemon) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		return ""
	}
	return f.asked[len(f.asked)-1]
}

func seconds(s float64) *float64 { return &s }

var fakeStatus = api.Status{
	Site: "north", Host: "host-a", Leader: "host-b", Index: 41, LeaseLeftS: 2.5, WaitingPeriodS: 10.01, WaitingPeriod: "waiting period 10.01s = lease 3s + ...",
	Hosts: []api.HostStatus{
		{Name: "host-a", Role: "server", Service: "in-service", SilentS: seconds(0.02), MemoryMiB: 4096, FreeMemoryMiB: 2048},
		{Name: "host-b", Role: "server", Service: "maintenance", SilentS: seconds(0.25), MemoryMiB: 4096, FreeMemoryMiB: 4096},
		{Name: "witness", Role: "witness", Service: "in-service"},
	},
	Guests: []api.Guest{
		{Name: "main1", Wanted: true, Owner: "host-a", Epoch: 3, MayRun: []string{"host-a"}, MemoryMiB: 2048, BudgetMs: 300, Group: "bay-1", Here: "running"},
		{Name: "main2", Wanted: true, Epoch: 1, MayRun: []string{}, MemoryMiB: 2048, BudgetMs: 250, Move: "main2-2", MoveTo: "host-a", MovePhase: "preparing"},
	},
}

func (f *fakeDaemon) Status(context.Context) (api.Status, error) {
	if f.status != nil {
		return *f.status, f.note("status", api.Caller{}, api.Nothing{})
	}
	return fakeStatus, f.note("status", api.Caller{}, api.Nothing{})
}

func (f *fakeDaemon) Move(_ context.Context, by api.Caller, r api.MoveRequest) (api.Accepted, error) {
	err := f.note("move", by, r)
	if r.DryRun {
		return api.Accepted{Text: "would move"}, err
	}
	return api.Accepted{Move: r.Guest + "-4", Text: "guest " + r.Guest + " moves from host-a to " + r.To}, err
}

func (f *fakeDaemon) Drain(_ context.Context, by api.Caller, r api.HostRequest) (api.Accepted, error) {
	if f.stays > 0 {
		return api.Accepted{Text: "would take it out of service; 1 guest stays", Plan: []string{"guest main1 stays: no room"}, Stays: f.stays}, f.note("drain", by, r)
	}
	return api.Accepted{Text: "host " + r.Host + " is taken out of service; 1 guest moves", Plan: []string{"guest main1 moves to host-b: only place"}}, f.note("drain", by, r)
}

func (f *fakeDaemon) Resume(_ context.Context, by api.Caller, r api.HostRequest) (api.Accepted, error) {
	return api.Accepted{Text: "host " + r.Host + " is in service"}, f.note("resume", by, r)
}

func (f *fakeDaemon) Explain(_ context.Context, r api.ExplainRequest) ([]api.Explanation, error) {
	return []api.Explanation{{Guest: "main1", Text: "stays where it is", Detail: json.RawMessage(`{"why":"stays"}`)}}, f.note("explain", api.Caller{}, r)
}

func (f *fakeDaemon) Events(_ context.Context, r api.EventsRequest) ([]api.Event, error) {
	err := f.note("events", api.Caller{}, r)
	if r.After >= 7 {
		return []api.Event{}, err
	}
	return []api.Event{{Index: 7, AtMs: 1700000000000, By: "eva", Role: "OPERATOR", What: "move main1\x1b[2J\nto host-b", Guest: "main1", Move: "main1-4"}}, err
}

func (f *fakeDaemon) Progress(ctx context.Context, r api.ProgressRequest, tell func(api.Progress)) error {
	if err := f.note("progress", api.Caller{}, r); err != nil {
		return err
	}
	for _, p := range f.plays {
		tell(p)
	}
	if f.hold {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *fakeDaemon) Trace(ctx context.Context, by api.Caller, r api.TraceRequest, tell func(api.TraceLine)) error {
	if err := f.note("trace", by, r); err != nil {
		return err
	}
	tell(api.TraceLine{Phase: "connect"})
	for i := range 3 {
		tell(api.TraceLine{Phase: "stream", Pass: uint32(i + 1), Pages: 1000 >> i})
	}
	if f.hold {
		<-ctx.Done()
		return ctx.Err()
	}
	half := len(f.trace) / 2
	tell(api.TraceLine{Phase: "file", Chunk: f.trace[:half]})
	tell(api.TraceLine{Phase: "file", Chunk: f.trace[half:], Final: true})
	return nil
}

const movedResult = `{"outcome":"moved","policy":"bumpless","budget_ms":300,"estimate_ms":28.5,"stop_ms":31.25,"total_s":4.5,"link_bytes":12300000,"ram_bytes":2147483648,"digest_equal":true,"passes":3,"parts":{}}`

// aDrain is what a daemon tells of a drain that moves one guest.
func aDrain() []api.Progress {
	line := func(phase string) api.Progress {
		return api.Progress{AtMs: 1, Move: "main1-4", Guest: "main1", From: "host-a", To: "host-b", Phase: phase}
	}
	list := []api.Progress{line("preparing"), line("ready"), line("connect"), line("stream")}
	for i := range 3 {
		p := line("stream")
		p.Pass = &api.Pass{Number: uint32(i + 1), Pages: 1000 >> i, HeldBytes: 1 << 20, QueuedBytes: 4096, LinkBytes: 9e6, LinkBytesPerS: 98.3e6, EstimateMs: 80 / float64(i+1)}
		list = append(list, p)
	}
	for _, phase := range []string{"about-to-stop", "stop", "drain", "load", "ready", "commit", "running"} {
		list = append(list, line(phase))
	}
	end := line("finished")
	end.Outcome, end.Result = "moved", json.RawMessage(movedResult)
	return append(list, end, api.Progress{AtMs: 2, From: "host-a", Phase: "maintenance", Final: true, Reason: "host host-a runs no guest and can be switched off; no other host may fail until it is back"})
}

// refusedMove is what a daemon tells of a move that its gateway refused.
func refusedMove() []api.Progress {
	return []api.Progress{{AtMs: 1, Move: "main1-4", Guest: "main1", From: "host-a", To: "host-b", Phase: "finished", Outcome: "refused",
		Reason: "needs 1.4x the link, or a budget of 84 ms", Final: true}}
}

// endedMove is what a daemon tells of a move that ended so, with its gateway's figures.
func endedMove(outcome, reason, result string) []api.Progress {
	p := refusedMove()
	p[0].Outcome, p[0].Reason, p[0].Result = outcome, reason, json.RawMessage(result)
	return p
}

// enterLine runs a line of the grammar as the command line does, and returns what
// it printed and its exit status.
func enterLine(f *fakeDaemon, words ...string) (out, errs string, status int) {
	var o, e bytes.Buffer
	clock := time.Unix(0, 0)
	now := func() time.Time { clock = clock.Add(100 * time.Millisecond); return clock }
	v := &verbs{screen: &Screen{Out: &o, Now: now}, prefix: "bumpless ", open: func() (api.Backend, error) { return f, nil }}
	status = v.execute(context.Background(), v.root("test"), words, &Screen{Out: &e, Now: now})
	return o.String(), e.String(), status
}
