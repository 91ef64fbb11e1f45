package main

import (
	"context"
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
		path := filepath.Join(dir, "bench-"+l.name+".trace")
		r, err := g.trace(ctx, path)
		if err != nil {
			return fmt.Errorf("record load %s: %w", l.name, err)
		}
		if _, err := g.verify(); err != nil {
			return err
		}
		fmt.Printf("%s: %d passes of %d MiB in %s\n", l.name, r.Passes, r.RAMBytes>>20, path)
	}
	return nil
}

func (g *rig) trace(ctx context.Context, path string) (gateway.Result, error) {
	dir, err := os.MkdirTemp(g.dir, "trace")
	if err != nil {
		return gateway.Result{}, err
	}
	e, err := g.startGateway(g.at, "trace", dir, gateway.TraceConfig{Guest: guestName, QMP: g.runners[g.at].MoveSocket(guestName, g.epoch), Path: path,
		Ms: recordMs, IntervalMs: recordIntervalMs, RAMBytes: g.ramBytes()})
	if err != nil {
		return gateway.Result{}, err
	}
	defer e.kill()
	if err := await(ctx, e); err != nil {
		return gateway.Result{}, err
	}
	if e.result == nil || e.result.Outcome != gateway.Recorded {
		return gateway.Result{}, fmt.Errorf("the gateway ended with %+v", e.result)
	}
	return *e.result, nil
}
