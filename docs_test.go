package bumpless

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bumpless/appliance/api"
	"bumpless/appliance/config"
	"bumpless/appliance/console"
	"bumpless/appliance/node"
	"bumpless/migrate/policy"
)

const readme, security = "README.md", "SECURITY.md"

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// rows of the table whose head begins with that cell; their cells, trimmed.
func rows(t *testing.T, path, head string) (list [][]string) {
	t.Helper()
	inside := false
	for line := range strings.Lines(read(t, path)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			inside = false
		case cells[0] == head:
			inside = true
		case inside && !strings.HasPrefix(line, "|---"):
			list = append(list, cells)
		}
	}
	if len(list) == 0 {
		t.Fatalf("%s has no table with the head %q", path, head)
	}
	return list
}

// firstCode is the first `code` in a cell, "" for none.
func firstCode(cell string) string {
	if parts := strings.SplitN(cell, "`", 3); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

// column is the first code of each row.
func column(table [][]string) (list []string) {
	for _, row := range table {
		list = append(list, firstCode(row[0]))
	}
	return list
}

// same compares two lists as sets, with nothing twice in what is written.
func same(t *testing.T, what string, written, real []string) {
	t.Helper()
	slices.Sort(written)
	slices.Sort(real)
	if !slices.Equal(written, real) {
		missing := slices.DeleteFunc(slices.Clone(real), func(n string) bool { return slices.Contains(written, n) })
		invented := slices.DeleteFunc(slices.Clone(written), func(n string) bool { return slices.Contains(real, n) })
		t.Errorf("%s: written are %q; the program has %q (missing %q, invented %q)", what, written, real, missing, invented)
	}
}

// fields of a site by the names that the table uses, with their values.
func fields(v reflect.Value, at string) map[string]reflect.Value {
	all := map[string]reflect.Value{}
	for i := range v.NumField() {
		f, name := v.Field(i), at+v.Type().Field(i).Tag.Get("yaml")
		below := map[string]reflect.Value{name: f}
		switch {
		case f.Kind() == reflect.Struct:
			below = fields(f, name+".")
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			below = fields(f.Index(0), name+"[].")
		}
		for n, b := range below {
			all[n] = b
		}
	}
	return all
}

// smallest is a site with required fields only.
const smallest = `version: 1
site: s
hosts: [{name: a, role: server, lan_a: 10.0.0.1, memory_for_guests_mib: 64, bus_bridge: br, watchdog: {kind: device}}]
guests: [{name: g, memory_mib: 16, kernel: /k, initrd: /i, mac: "52:54:00:00:00:01", budget_ms: 100, disks: [{path: /d, kind: shared}]}]
`

func TestTheReadmeNamesEachSiteFieldWithItsDefault(t *testing.T) {
	site, err := config.Parse("smallest.yaml", []byte(smallest))
	if err != nil {
		t.Fatal(err)
	}
	real := fields(reflect.ValueOf(site), "")
	real["guests[].autostart"] = reflect.ValueOf(site.Guests[0].Starts()) // nil stands for its default
	var names []string
	for name := range real {
		names = append(names, name)
	}
	table := rows(t, readme, "field")
	table = slices.DeleteFunc(table, func(row []string) bool { return len(row) != 4 }) // demo.json's table has two columns
	same(t, "site file", column(table), names)
	for _, row := range table {
		name, written := firstCode(row[0]), row[2]
		value, ok := real[name]
		if !ok {
			continue // told already
		}
		want := "`" + fmt.Sprint(value) + "`"
		switch {
		case isWritten(name):
			want = "required"
		case value.IsZero() || value.Kind() == reflect.Slice && value.Len() == 0:
			want = "none"
		}
		if written != want {
			t.Errorf("%s: the default that is written = %s; want %s", name, written, want)
		}
	}
}

// isWritten tells whether the smallest site writes the field: its line begins
// with the section and has the names below it.
func isWritten(name string) bool {
	names := strings.Split(strings.ReplaceAll(name, "[]", ""), ".")
	for line := range strings.Lines(smallest) {
		if !strings.HasPrefix(line, names[0]+":") {
			continue
		}
		return !slices.ContainsFunc(names[1:], func(leaf string) bool {
			return !regexp.MustCompile(`\b` + leaf + `:`).MatchString(line)
		})
	}
	return false
}

func TestTheReadmesWaitingPeriodIsTheExamples(t *testing.T) {
	site, err := config.Load("appliance/config/example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want, err := node.WaitingPeriod(site)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(read(t, readme), want) {
		t.Errorf("README.md does not hold %q", want)
	}
}

func TestTheReadmeNamesEachVerb(t *testing.T) {
	var out bytes.Buffer
	p := console.Program{Out: &out, Err: &out}
	if status := p.Main(context.Background(), []string{"help"}); status != console.Done {
		t.Fatalf("bumpless help = status %d: %s", status, &out)
	}
	verbs := []string{"help"} // which the overview is
	for line := range strings.Lines(out.String()) {
		if m := regexp.MustCompile(`^  ([a-z]+) `).FindStringSubmatch(line); m != nil && m[1] != "help" {
			verbs = append(verbs, m[1])
		}
	}
	var written []string
	for _, use := range column(rows(t, readme, "verb")) {
		written = append(written, strings.Fields(use)[0])
	}
	same(t, "verbs", written, verbs)
}

// Every command line in the README begins with a verb, and has only flags that
// the verb's own help knows.
func TestTheReadmesCommandLinesAreUnderstood(t *testing.T) {
	lines := regexp.MustCompile("(?m)(?:^    (?:\\$ )?|`)bumpless ([^`#\\n]*)").FindAllStringSubmatch(read(t, readme), -1)
	if len(lines) < 10 {
		t.Fatalf("%d command lines were found in %s", len(lines), readme)
	}
	for _, m := range lines {
		words := slices.DeleteFunc(strings.Fields(m[1]), func(w string) bool { return w == "--json" })
		var out bytes.Buffer
		p := console.Program{Out: &out, Err: &out}
		if len(words) == 0 || p.Main(context.Background(), []string{"help", words[0]}) != console.Done {
			t.Errorf("`bumpless %s`: no such verb", m[1])
			continue
		}
		for _, w := range words {
			if strings.HasPrefix(w, "--") && !strings.Contains(out.String(), w) {
				t.Errorf("`bumpless %s`: %s has no flag %s", m[1], words[0], w)
			}
		}
	}
}

// A refusal's code is a contract of --json: each one in the sources is in the
// README and in the program's own help.
func TestEachCodeOfARefusalIsWrittenDown(t *testing.T) {
	real := map[string]bool{"usage": true}
	for _, source := range []struct{ pattern, code string }{
		{"ha/core/command.go", `Code = "([a-z-]+)"`},
		{"appliance/api/*.go", `Refusal\{Code: "([a-z-]+)"`},
		{"appliance/node/*.go", `(?:Refusal\{Code: |refuse\()"([a-z-]+)"`},
	} {
		files, err := filepath.Glob(source.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			for _, m := range regexp.MustCompile(source.code).FindAllStringSubmatch(read(t, path), -1) {
				real[m[1]] = true
			}
		}
	}
	codes := slices.Collect(maps.Keys(real))
	same(t, "codes of refusals", column(rows(t, readme, "code")), codes)
	var out bytes.Buffer
	p := console.Program{Out: &out, Err: &out}
	if status := p.Main(context.Background(), []string{"help", "refusals"}); status != console.Done {
		t.Fatalf("bumpless help refusals = status %d: %s", status, &out)
	}
	var told []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+) `).FindAllStringSubmatch(out.String(), -1) {
		told = append(told, m[1])
	}
	same(t, "help refusals", told, codes)
}

func TestTheReadmeNamesEachPolicy(t *testing.T) {
	same(t, "policies", column(rows(t, readme, "policy")), policy.Names())
}

// The picture of the house has every folder of the house and no other.
func TestTheReadmesHouseIsTheHouse(t *testing.T) {
	var drawn, real []string
	room := ""
	for line := range strings.Lines(read(t, readme)) {
		if m := regexp.MustCompile(`^    ([a-z0-9]+)/ +\S`).FindStringSubmatch(line); m != nil {
			room = m[1]
			drawn = append(drawn, room)
		} else if m := regexp.MustCompile(`^      ([a-z0-9]+)  +\S`).FindStringSubmatch(line); m != nil && room != "" {
			drawn = append(drawn, room+"/"+m[1])
		} else if room != "" {
			break // the picture ends
		}
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || path == "." {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") || d.Name() == "out" || d.Name() == "testdata" || strings.Count(path, "/") > 1 {
			return fs.SkipDir
		}
		real = append(real, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "house", drawn, real)
}

func TestSecurityNamesTheRolesOfEachVerb(t *testing.T) {
	table := rows(t, security, "verb")
	var verbs []string
	for verb := range api.Verbs {
		verbs = append(verbs, verb)
	}
	same(t, "verbs of the control API", column(table), verbs)
	for _, row := range table {
		same(t, "roles of "+firstCode(row[0]), strings.Fields(row[1]), slices.Clone(api.Verbs[firstCode(row[0])]))
	}
}

func TestSecurityNamesEachFuzzTarget(t *testing.T) {
	var written, real []string
	for _, row := range rows(t, security, "package") {
		written = append(written, firstCode(row[0])+" "+firstCode(row[1]))
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`).FindAllStringSubmatch(read(t, path), -1) {
			real = append(real, filepath.Dir(path)+" "+m[1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "fuzz targets", written, real)
}
