package console

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bumpless/appliance/api"
)

func TestALineBecomesARequest(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"status", `status {}`},
		{"guests", `status {}`},
		{"move main1 host-b --no-wait", `move {"guest":"main1","to":"host-b"}`},
		{"move --no-wait main1 --reason 'new fans' host-b --insist", `move {"guest":"main1","to":"host-b","reason":"new fans","insist":true}`},
		{"move main1 host-b --dry-run", `move {"guest":"main1","to":"host-b","dry_run":true}`},
		{"drain host-a --no-wait", `drain {"host":"host-a"}`},
		{"drain host-a --dry-run --reason=fans", `drain {"host":"host-a","reason":"fans","dry_run":true}`},
		{"drain host-a --insist --no-wait", `drain {"host":"host-a","insist":true}`},
		{"resume host-a", `resume {"host":"host-a"}`},
		{"resume host-a --dry-run", `resume {"host":"host-a","dry_run":true}`},
		{"explain", `explain {}`},
		{"explain main1", `explain {"guest":"main1"}`},
		{"events", `events {}`},
		{"events --after 3", `events {"after":3}`},
	} {
		f := &fakeDaemon{}
		words, err := split(c.line)
		if err != nil {
			t.Fatal(err)
		}
		if _, errs, status := enterLine(f, words...); status != Done || f.last() != c.want {
			t.Errorf("%q = %d %q, asked %q; want %q", c.line, status, errs, f.last(), c.want)
		}
	}
}

func TestADryRunIsNotFollowed(t *testing.T) {
	for _, line := range []string{"move main1 host-b --dry-run", "drain host-a --dry-run", "resume host-a"} {
		f := &fakeDaemon{plays: aDrain()}
		enterLine(f, strings.Fields(line)...)
		for _, asked := range f.asked {
			if strings.HasPrefix(asked, "progress") {
				t.Errorf("%q asked %q", line, asked)
			}
		}
	}
}

func TestWhatIsNotUnderstoodSaysWhatWouldBe(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"drian host-a", `no command "drian"; did you mean drain?`},
		{"frobnicate", "there are drain, events"},
		{"move", "GUEST is missing; say `bumpless move GUEST HOST`, GUEST is one of: main1, main2"},
		{"move main1", "HOST is one of: host-a, host-b\n"},
		{"drain", "HOST is one of: host-a, host-b, witness"},
		{"resume", "HOST is missing"},
		{"move main1 host-b host-c", `got ["host-c"] too`},
		{"status now", `status takes no argument, got ["now"]`},
		{"move --fast main1 host-b", "unknown flag: --fast; see `bumpless help move`"},
		{"events --after yesterday", `invalid argument "yesterday" for "--after" flag: want a whole number of 0 or more; see ` + "`bumpless help events`\n"},
		{"status --json=perhaps", `for "--json" flag: want true or false; see`},
		{"--foo", "unknown flag: --foo; see `bumpless help`\n"},
		{"help nonsense", `no command "nonsense"`},
	} {
		f := &fakeDaemon{}
		out, errs, status := enterLine(f, strings.Fields(c.line)...)
		if status != Misused || !strings.Contains(errs, c.want) || out != "" {
			t.Errorf("%q = %d, %q, %q; want 2 and %q", c.line, status, out, errs, c.want)
		}
		if last := f.last(); last != "" && last != "status {}" {
			t.Errorf("%q asked %q; want nothing ordered", c.line, last)
		}
	}
}

func TestTheExitStatusTellsRefusalFromFailure(t *testing.T) {
	failed := aDrain()
	failed[len(failed)-1] = api.Progress{From: "host-a", Phase: "draining", Outcome: "refused", Reason: "guest main2 stays", Final: true}
	rolledBack := refusedMove()
	rolledBack[0].Outcome = "rolled-back"
	for _, c := range []struct {
		what, line string
		f          *fakeDaemon
		want       int
	}{
		{"refused order", "drain host-a", &fakeDaemon{refuse: &api.Refusal{Code: "role", Text: "needs OPERATOR"}}, Refused},
		{"daemon gone", "drain host-a", &fakeDaemon{refuse: errors.New("connection refused")}, Failed},
		{"drained", "drain host-a", &fakeDaemon{plays: aDrain()}, Done},
		{"drain that cannot go on", "drain host-a", &fakeDaemon{plays: failed}, Refused},
		{"drain that would not end", "drain host-a --dry-run", &fakeDaemon{stays: 1}, Refused},
		{"drain that would end", "drain host-a --dry-run", &fakeDaemon{}, Done},
		{"drain that is only ordered", "drain host-a --no-wait", &fakeDaemon{stays: 1}, Done},
		{"move refused by its gateway", "move main1 host-b", &fakeDaemon{plays: refusedMove()}, Refused},
		{"move rolled back", "move main1 host-b", &fakeDaemon{plays: rolledBack}, Failed},
		{"progress cut off", "move main1 host-b", &fakeDaemon{}, Failed},
	} {
		for _, json := range []string{"", " --json"} {
			c.f.asked = nil
			if out, errs, status := enterLine(c.f, strings.Fields(c.line+json)...); status != c.want {
				t.Errorf("%s: %q = %d (%s %s); want %d", c.what, c.line+json, status, out, errs, c.want)
			}
		}
	}
}

// golden compares with testdata/name; UPDATE=1 writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

func TestAnswersForPeopleLookAsWrittenDown(t *testing.T) {
	for _, c := range []struct {
		name, line string
		f          *fakeDaemon
	}{
		{"status.txt", "status", &fakeDaemon{}},
		{"guests.txt", "guests", &fakeDaemon{}},
		{"events.txt", "events", &fakeDaemon{}},
		{"drain.txt", "drain host-a", &fakeDaemon{plays: aDrain()}},
		{"refused.txt", "move main1 host-b", &fakeDaemon{plays: refusedMove()}},
		{"refused-figures.txt", "move main1 host-b", &fakeDaemon{plays: endedMove("refused", "needs 1.4x the link", `{"budget_ms":300,"total_s":2.25,"link_bytes":12300000}`)}},
		{"rolled-back.txt", "move main1 host-b", &fakeDaemon{plays: endedMove("rolled-back", "the deadline passed while memory was being sent",
			`{"budget_ms":300,"estimate_ms":80,"stop_ms":271,"total_s":2.25,"link_bytes":12300000,"parts":{"tail_ms":20}}`)}},
		{"digests-differ.txt", "move main1 host-b", &fakeDaemon{plays: endedMove("rolled-back", "the digests differ: the destination's memory is not the source's",
			`{"budget_ms":300,"estimate_ms":80,"stop_ms":90,"total_s":2.25,"link_bytes":12300000,"parts":{"ready_ms":80}}`)}},
		{"help.txt", "help", &fakeDaemon{}},
		{"help-move.txt", "help move", &fakeDaemon{}},
		{"help-refusals.txt", "help refusals", &fakeDaemon{}},
	} {
		out, errs, _ := enterLine(c.f, strings.Fields(c.line)...)
		golden(t, c.name, out+errs)
	}
}

func TestJSONIsStable(t *testing.T) {
	var all strings.Builder
	for _, c := range []struct {
		line string
		f    *fakeDaemon
	}{
		{"status", &fakeDaemon{}}, {"guests", &fakeDaemon{}}, {"explain", &fakeDaemon{}}, {"events", &fakeDaemon{}},
		{"move main1 host-b --no-wait", &fakeDaemon{}}, {"drain host-a --dry-run", &fakeDaemon{}}, {"resume host-a", &fakeDaemon{}},
		{"drain host-a", &fakeDaemon{plays: aDrain()}}, {"move main1 host-b", &fakeDaemon{plays: refusedMove()}},
		{"move main1 host-b", &fakeDaemon{refuse: &api.Refusal{Code: "no-room", Text: "host-b has 12 MiB"}}},
		{"help exit", &fakeDaemon{}}, {"move main1 host-b --fast", &fakeDaemon{}}, {"drian", &fakeDaemon{}}, {"status", &fakeDaemon{refuse: errors.New("no answer")}},
	} {
		out, errs, _ := enterLine(c.f, strings.Fields(c.line+" --json")...)
		if errs != "" {
			t.Errorf("%q --json says on standard error: %q", c.line, errs)
		}
		for line := range strings.Lines(out) {
			var head struct {
				Version int    `json:"version"`
				Command string `json:"command"`
			}
			if err := json.Unmarshal([]byte(line), &head); err != nil || head.Version != JSONVersion || head.Command == "" {
				t.Errorf("%q --json: line %q = %+v, %v; want one versioned object", c.line, line, head, err)
			}
		}
		all.WriteString("$ " + c.line + " --json\n" + out)
	}
	golden(t, "json.txt", all.String())
}

func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	out, _, _ := enterLine(&fakeDaemon{}, "events")
	if strings.ContainsRune(out, 0x1b) {
		t.Errorf("events = %q; want no escape", out)
	}
	if strings.Count(out, "\n") != 1 {
		t.Errorf("events = %q; want one line for one event", out)
	}
}

func TestNamesAreCompletedFromTheDaemon(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"move ", "main1\nmain2\n"}, {"move main1 ", "host-a\nhost-b\n"}, {"drain ", "host-a\nhost-b\nwitness\n"}, {"explain m", "main1\nmain2\n"},
	} {
		words := append([]string{"__complete"}, strings.Split(c.line, " ")...)
		out, _, _ := enterLine(&fakeDaemon{}, words...)
		if !strings.HasPrefix(out, c.want) {
			t.Errorf("complete %q = %q; want %q", c.line, out, c.want)
		}
	}
}

func TestSplitKeepsQuotedBlanks(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string
	}{
		{"", nil}, {"  a  b\t", []string{"a", "b"}}, {`a "b c" 'd "e'`, []string{"a", "b c", `d "e`}}, {`--reason=""`, []string{"--reason="}}, {`""`, []string{""}},
	} {
		got, err := split(c.line)
		if err != nil || strings.Join(got, "|") != strings.Join(c.want, "|") || len(got) != len(c.want) {
			t.Errorf("split(%q) = %q, %v; want %q", c.line, got, err, c.want)
		}
	}
	if _, err := split(`move "main1`); err == nil {
		t.Error("split accepts a quote that is not closed")
	}
}
