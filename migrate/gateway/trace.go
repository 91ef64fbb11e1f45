package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bumpless/migrate/qmp"
	"bumpless/migrate/stream"
)

// TraceConfig is what a recording needs: the source's half of a move, into
// nothing. Zero values of the tuning fields take the defaults that are named.
type TraceConfig struct {
	Guest string `json:"guest"`
	QMP   string `json:"qmp"`  // path of the monitor socket set aside for gateways
	Path  string `json:"path"` // of the trace, which is written at the end
	// Ms from the end of the first pass over the guest's memory.
	Ms         int    `json:"ms"`
	IntervalMs int    `json:"interval_ms"` // 100 when 0: how often dirty pages are looked for
	RAMBytes   uint64 `json:"ram_bytes"`   // bounds the guest's RAM; 64 GiB when 0
	TimeoutS   int    `json:"timeout_s"`   // of it all; 60 and twice the length when 0
}

// MaxTraceMs bounds a recording's length.
const MaxTraceMs = 600_000

func (c *TraceConfig) defaults() error {
	if c.IntervalMs == 0 {
		c.IntervalMs = 100
	}
	if c.RAMBytes == 0 {
		c.RAMBytes = defaultRAMBytes
	}
	if c.TimeoutS == 0 {
		c.TimeoutS = 60 + 2*c.Ms/1000
	}
	switch {
	case c.Ms < 100 || c.Ms > MaxTraceMs:
		return fmt.Errorf("trace of guest %s: %d ms, want 100 to %d", c.Guest, c.Ms, MaxTraceMs)
	case c.IntervalMs < 1 || c.IntervalMs > 60_000:
		return fmt.Errorf("trace of guest %s: interval_ms %d, want 1 to 60000", c.Guest, c.IntervalMs)
	}
	return nil
}

// tracer records what a guest dirties, by a migration that leads nowhere: QEMU's
// stream is read and dropped, its switchover is never released, and at the end
// the migration is cancelled. The guest is not stopped, and nothing is committed.
type tracer struct {
	source   // its monitor and pipe; there is no link
	cfg      TraceConfig
	recorder *recorder
	first    []int // page of each block, among all

	bulk     time.Time // when QEMU began to look
	filled   time.Time // when the bulk had been read
	looked   time.Time // when QEMU last looked for dirty pages, as far as we know
	oldUntil int64     // as in passes: what was found before the wait
	old      int
	looks    uint32
	pages    int // since the last look

	lastBlock      int
	lastAt         uint64
	any, inSection bool
}

// RunTrace records a running guest. However it ends the guest runs on; if this
// process is killed the pipe closes, and QEMU lets the migration fail.
func RunTrace(ctx context.Context, cfg TraceConfig, report func(Event)) (Result, error) {
	if err := cfg.defaults(); err != nil {
		return Result{}, err
	}
	ctx, cancel := limited(ctx, time.Duration(cfg.TimeoutS)*time.Second, "the recording's time of %d s", cfg.TimeoutS)
	defer cancel()
	t := &tracer{cfg: cfg, source: source{cfg: SourceConfig{Guest: cfg.Guest, QMP: cfg.QMP, RAMBytes: cfg.RAMBytes}, report: report, began: time.Now()}}
	err := t.run(ctx)
	if t.qemu != nil {
		t.qemu.Close()
	}
	t.result.TotalS, t.result.Passes, t.result.RAMBytes = time.Since(t.began).Seconds(), t.looks, t.ram
	if t.result.Outcome = Recorded; err != nil {
		t.result.Outcome, t.result.Reason = Failed, err.Error()
	}
	return t.result, nil
}

func (t *tracer) run(ctx context.Context) error {
	t.phase(Connecting)
	within, cancel := context.WithTimeout(ctx, prepareWait)
	defer cancel()
	var err error
	if t.qemu, err = qmp.Dial(within, t.cfg.QMP); err != nil {
		return err
	}
	if err := t.checkGuest(within); err != nil {
		return err
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	if t.hasher, err = newHasher(key); err != nil {
		return err
	}
	if err := t.configure(within); err != nil {
		return err
	}
	if err := t.startMigration(within); err != nil {
		return err
	}
	t.phase(Streaming)
	// QEMU may sit in a write under its big lock: the pipe goes first. What reads
	// from it ends by that too.
	ended := context.AfterFunc(ctx, func() { t.pipe.Close() })
	if err = t.read(ctx); ctx.Err() != nil && err != nil {
		err = late("the guest was being traced", ctx)
	}
	ended()
	t.pipe.Close()
	cancelling, cancel := context.WithTimeout(context.Background(), qmpTimeout)
	defer cancel()
	return errors.Join(err, t.cancelMigration(cancelling))
}

// read takes the stream until the trace is complete.
func (t *tracer) read(ctx context.Context) error {
	r := stream.NewReader(t.pipe, streamBuffer)
	t.bulk = time.Now()
	t.looked = t.bulk
	for {
		record, err := r.Next()
		complete := false
		switch {
		case err != nil:
		case record.Kind == stream.Command && record.Number == stream.CommandPing:
			err = t.answerPing(record.Raw)
		case record.Kind == stream.RAMStart:
			err = t.startTrace(record)
		case record.Kind == stream.Page:
			complete, err = t.page(ctx, r, record)
		case record.Kind == stream.SectionEnd && record.Last:
			err = errors.New("the guest was stopped while it was traced")
		case record.Kind == stream.SectionEnd:
			empty := !t.inSection
			if t.inSection = false; empty {
				complete, err = t.look(ctx, r)
			}
		}
		if complete || err != nil {
			return err
		}
	}
}

func (t *tracer) startTrace(record stream.Record) (err error) {
	pages := 0
	for _, b := range record.Blocks {
		t.first = append(t.first, pages)
		pages += int(b.Pages())
		t.ram += b.Size
	}
	if t.ram > t.cfg.RAMBytes {
		return fmt.Errorf("the guest has %d MiB of RAM, %d MiB were announced", t.ram>>20, t.cfg.RAMBytes>>20)
	}
	t.recorder, err = newRecorder(t.cfg.Path, time.Duration(t.cfg.Ms)*time.Millisecond, t.hasher, pages)
	return err
}

// page notes one, after QEMU has looked again if this is not behind the last one.
func (t *tracer) page(ctx context.Context, r *stream.Reader, p stream.Record) (complete bool, err error) {
	if t.any && (p.Block < t.lastBlock || p.Block == t.lastBlock && p.Offset <= t.lastAt) {
		if complete, err = t.look(ctx, r); complete || err != nil {
			return complete, err
		}
	}
	t.lastBlock, t.lastAt, t.any, t.inSection = p.Block, p.Offset, true, true
	t.pages++
	return false, t.recorder.page(t.first[p.Block]+int(p.Offset/stream.PageSize), p.Data)
}

// look: QEMU has looked for dirty pages, at the latest now. A wait follows, unless
// what comes next was found before the last one (see passes).
func (t *tracer) look(ctx context.Context, r *stream.Reader) (complete bool, err error) {
	t.any = false
	found := t.looked
	t.looked = time.Now()
	if t.looks == 0 {
		t.filled = t.looked
	}
	if complete, err = t.recorder.end(found.Sub(t.bulk), t.looked.Sub(t.filled)); complete || err != nil {
		return complete, err
	}
	t.looks++
	t.report(Event{Phase: Streaming, AtMs: ms(time.Since(t.began)), Pass: &Pass{Number: t.looks, Pages: t.pages}})
	t.pages = 0
	if t.old > 0 {
		if r.Offset() > t.oldUntil {
			t.old--
		}
		return false, nil
	}
	select {
	case <-time.After(time.Duration(t.cfg.IntervalMs) * time.Millisecond):
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	t.old, t.oldUntil = blockedFindings, r.Taken()+inPipe(t.pipe)
	return false, nil
}
