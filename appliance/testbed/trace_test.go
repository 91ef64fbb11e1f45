package testbed

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"bumpless/migrate/gateway"
	"bumpless/migrate/replay"
)

// keepTrace is how migrate/replay/testdata/prot.trace was made:
// go test ./appliance/testbed -run ARecordedTrace -keep-trace FILE
var keepTrace = flag.String("keep-trace", "", "file to keep the recorded trace in")

func TestE2EARecordedTraceOfARealGuestCanBeReplayed(t *testing.T) {
	if testing.Short() {
		return
	}
	r := newRig(t, 1000)
	r.boot()
	path := filepath.Join(r.dir, "prot.trace")
	m := r.begin(func(s *gateway.SourceConfig, _ *gateway.DestinationConfig) {
		s.Policy, s.TracePath, s.TraceMs, s.PassIntervalMs = "delayed", path, 10_000, 100
	})
	if result, _ := m.settle(); result == nil || result.Outcome != gateway.Moved || result.TotalS < 10 {
		t.Fatalf("result = %+v; want moved, after the trace", result)
	}
	m.runsOnlyOn(r.at)
	file, err := os.ReadFile(path)
	must(t, err)
	trace, err := replay.Decode(file)
	must(t, err)
	t.Logf("%d bytes, %d passes", len(file), len(trace.Passes))
	if len(trace.Passes) < 100 {
		t.Errorf("%d looks at dirty pages in 10 s; want one every 100 ms or more", len(trace.Passes))
	}
	figures, err := replay.Run(trace, "bumpless", replay.Defaults())
	if err != nil || figures.Outcome != replay.Moved {
		t.Errorf("replay = %+v, %v; want moved, as the guest was", figures, err)
	}
	if *keepTrace != "" {
		must(t, os.WriteFile(*keepTrace, file, 0o644))
	}
}
