package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"bumpless/migrate/gateway"
)

// Traces of the loads for migrate/replay/testdata are short and coarse: a trace
// begins again behind its end, and a policy is not decided by tenths of a second.
const (
	recordMs         = 4000
	recordIntervalMs = 150
)

// record boots each load that is selected and keeps a trace of it in dir.
func (g *rig) record(ctx context.Context, s selection, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, l := range loads {
		if len(s.loads) > 0 && !slices.Contains(s.loads, l.name) {
			continue
		}
		if err := g.boot(ctx, l); err != nil {
			return err
		}
		path := filepath.Join(dir, "bench-"+l.name+".trace.gz")
		r, err := g.trace(ctx, path)
		if err != nil {
			return fmt.Errorf("record load %s: %w", l.name, err)
		}
		if _, err := g.Verify(); err != nil {
			return err
		}
		fmt.Printf("%s: %d passes of %d MiB in %s\n", l.name, r.Passes, r.RAMBytes>>20, path)
	}
	return nil
}

// trace records the guest, and packs the trace into path.
func (g *rig) trace(ctx context.Context, path string) (gateway.Result, error) {
	dir, err := os.MkdirTemp(g.Dir, "trace")
	if err != nil {
		return gateway.Result{}, err
	}
	e, err := g.StartGateway(g.At, "trace", dir, gateway.TraceConfig{Guest: guestName, QMP: g.Runners[g.At].MoveSocket(guestName, g.Epoch), Path: filepath.Join(dir, "trace"),
		Ms: recordMs, IntervalMs: recordIntervalMs, RAMBytes: g.ramBytes()}, func(gateway.Event) {})
	if err != nil {
		return gateway.Result{}, err
	}
	defer e.End()
	if err := await(ctx, e); err != nil {
		return gateway.Result{}, err
	}
	if e.Result == nil || e.Result.Outcome != gateway.Recorded {
		return gateway.Result{}, fmt.Errorf("the gateway ended with %+v", e.Result)
	}
	return *e.Result, pack(filepath.Join(dir, "trace"), path)
}

// pack a file: a trace shrinks to a third or less.
func pack(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	_, err = z.Write(b)
	if err = errors.Join(err, z.Close()); err != nil {
		return err
	}
	return os.WriteFile(to, packed.Bytes(), 0o644)
}
