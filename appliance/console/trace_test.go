package console

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/replay"
)

// recorded is a trace of one second: 100 pages that are not zero, 50 dirtied.
func recorded(t *testing.T) []byte {
	t.Helper()
	b, err := replay.Trace{Pages: 1000, Passes: []replay.Pass{
		{Spans: []replay.Span{{First: 0, Count: 100, Class: replay.Packed(1)}}},
		{At: time.Second, Spans: []replay.Span{{First: 10, Count: 50, Class: replay.Packed(1)}}}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestATraceIsKeptInTheFileThatWasNamed(t *testing.T) {
	i := install(t)
	i.fake.trace = recorded(t)
	out, errs, status := i.enter("trace main1 --seconds 1 -o $D/t --site $D/site.yaml --host host-a --cert $D/pki/eva.crt")
	file, err := os.ReadFile(i.dir + "/t")
	if status != Done || err != nil || !bytes.Equal(file, i.fake.trace) {
		t.Fatalf("trace = %d %q %q, %v; want the file whole", status, out, errs, err)
	}
	if asked := i.fake.last(); asked != `trace OPERATOR{"guest":"main1","seconds":1}` {
		t.Errorf("the daemon was asked %q", asked)
	}
	for _, want := range []string{"first pass, 1000 pages", "1.0 s of guest main1 in 2 passes", "not zero 0.4 MB, dirtied 0.2 MB/s"} {
		if !strings.Contains(out, want) {
			t.Errorf("trace = %q; want %q", out, want)
		}
	}
	out, _, status = i.enter("trace main1 --seconds 1 -o $D/u --json --socket $D/api.sock")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var last struct{ Trace Traced }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); status != Done || err != nil || last.Trace.Passes != 2 || last.Trace.FirstPassBytes != 409_600 {
		t.Errorf("trace --json = %d, %v, %+v; want a summary at the end of %q", status, err, last, out)
	}
}

func TestATraceThatCannotBeKeptIsNotBegun(t *testing.T) {
	i := install(t)
	if err := os.WriteFile(i.dir+"/t", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"trace main1 -o $D/t --socket $D/api.sock":                   "is there already",
		"trace main1 -o $D/none/t --socket $D/api.sock":              "no folder",
		"trace main1 -o $D/t/t --socket $D/api.sock":                 "no folder",
		"trace main1 -o $D/u --seconds 0 --socket $D/api.sock":       "want 1 to 600",
		"trace main1 -o $D/u --seconds 601 --socket $D/api.sock":     "want 1 to 600",
		"trace main1 main2 -o $D/u --seconds 3 --socket $D/api.sock": "trace takes [GUEST]",
	} {
		if _, errs, status := i.enter(line); status != Misused || !strings.Contains(errs, want) {
			t.Errorf("%q = %d %q; want 2 and %q", line, status, errs, want)
		}
	}
	if asked := i.fake.all(); len(asked) > 0 {
		t.Errorf("the daemon was asked %q; want nothing", asked)
	}
	if b, err := os.ReadFile(i.dir + "/t"); err != nil || string(b) != "precious" {
		t.Errorf("the file that was there = %q, %v", b, err)
	}
}

// A folder that is there, and where no file can be made, for root neither.
func TestATraceThatNoFileCanBeMadeForIsNotBegun(t *testing.T) {
	i := install(t)
	if _, errs, status := i.enter("trace main1 -o /proc/t --socket $D/api.sock"); status != Failed && status != Misused || errs == "" {
		t.Errorf("trace = %d %q; want it failed", status, errs)
	}
	if asked := i.fake.all(); len(asked) > 0 {
		t.Errorf("the daemon was asked %q; want nothing", asked)
	}
}

func TestATraceIsRefusedToAViewerAndWithoutAGuestNamesThem(t *testing.T) {
	i := install(t)
	if _, errs, status := i.enter("trace main1 -o $D/t --site $D/site.yaml --host host-a --cert $D/pki/vic.crt"); status != Refused || !strings.Contains(errs, "trace needs one of [OPERATOR ENGINEER]") {
		t.Errorf("trace as a viewer = %d %q; want it refused", status, errs)
	}
	if _, err := os.Stat(i.dir + "/t"); err == nil {
		t.Error("a trace that was refused left a file")
	}
	if out, _, _ := i.enter("__complete --socket $D/api.sock trace m"); !strings.HasPrefix(out, "main1\nmain2\n") {
		t.Errorf("complete trace = %q; want the guests", out)
	}
	if _, errs, status := i.enter("trace --socket $D/api.sock"); status != Misused || !strings.Contains(errs, "GUEST is one of: main1, main2") {
		t.Errorf("trace = %d %q; want the guests named", status, errs)
	}
}

func TestAnInterruptedTraceLeavesNoFile(t *testing.T) {
	i := install(t)
	i.fake.hold = true
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	var out, errs bytes.Buffer
	status := Program{Out: &out, Err: &errs}.Main(ctx, []string{"trace", "main1", "-o", i.dir + "/t", "--socket", i.dir + "/api.sock"})
	if status != Failed || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("trace = %d %q; want 1, interrupted", status, &errs)
	}
	if left, err := filepath.Glob(i.dir + "/t*"); err != nil || len(left) > 0 {
		t.Errorf("%q is left", left)
	}
}

func TestWhatIsNotATraceIsNotKept(t *testing.T) {
	i := install(t)
	i.fake.trace = recorded(t)[:9]
	if _, errs, status := i.enter("trace main1 -o $D/t --socket $D/api.sock"); status != Failed || !strings.Contains(errs, "not whole") {
		t.Errorf("trace = %d %q; want it failed", status, errs)
	}
	if _, err := os.Stat(i.dir + "/t"); err == nil {
		t.Error("half a trace is kept")
	}
}
