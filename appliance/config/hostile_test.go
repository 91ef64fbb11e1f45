package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// bomb has 9^8 elements when its aliases are written out.
func bomb() string {
	var b strings.Builder
	b.WriteString("version: 1\nsite: &a [x]\n")
	for i, field := range []string{"state_dir", "run_dir", "pki_dir", "timing", "qemu", "move", "hosts", "guests"} {
		fmt.Fprintf(&b, "%s: &%c [%s*%c]\n", field, 'b'+i, strings.Repeat(fmt.Sprintf("*%c,", 'a'+i), 8), 'a'+i)
	}
	return b.String()
}

// TestAFileThatIsMadeToHurtIsRefusedSoon: each case costs the parser nothing
// that its size does not say.
func TestAFileThatIsMadeToHurtIsRefusedSoon(t *testing.T) {
	fill := func(line string) string { return strings.Repeat(line, maxFile/len(line)) }
	for what, c := range map[string]struct{ text, want string }{
		"too large":               {strings.Repeat("#\n", maxFile/2+1), "more than 262144 bytes"},
		"a long line":             {"version: 1\nsite: " + text(5000), "f:2:4097: a line of 5006 bytes, at most 4096"},
		"a long list in one line": {"[" + fill("a,")[:200_000], "f:1:4097: a line of"},
		"brackets in one line":    {strings.Repeat("[", 5000), "f:1:1: nested more than 16"},
		"braces over lines":       {fill("{a:\n"), "f:1:1: nested more than 16"},
		"dashes":                  {strings.Repeat("- ", 1000) + "a", "f:1:1: nested more than 16"},
		"indentation":             {strings.Repeat(" ", 1000) + "a", "f:1:1: nested more than 16"},
		"an alias bomb":           {bomb(), "f:2:7: $.site: anchors, aliases and tags are not read"},
		"an alias bomb in a list": {strings.Replace(full, "guest_cpus: [2, 3]", "guest_cpus: &a [&b [2, 3], *b, *b]", 1), "f:34:17: $.hosts[0].guest_cpus: anchors, aliases"},
		"an anchor":               {strings.Replace(full, "site: north", "site: &a north", 1), "f:2:7: $.site: anchors, aliases and tags"},
		"an alias":                {strings.Replace(full, "site: north", "site: *a", 1), "f:2:7: $.site: anchors, aliases and tags"},
		"a merge":                 {strings.Replace(full, "  accel: kvm", "  <<: {accel: kvm}", 1), "f:16:3: $.qemu: want the name of a field"},
		"a merge of an alias":     {strings.Replace(full, "  accel: kvm", "  <<: *a", 1), "f:16:3: $.qemu: want the name of a field"},
		"a tag":                   {strings.Replace(full, "site: north", "site: !!str north", 1), "f:2:7: $.site: anchors, aliases and tags"},
		"a key that is a list":    {"? [a, b]\n: c\n", "f:2:1"},
		"a key that is a number":  {"1: 2\n" + full, "f:1:1: $: want the name of a field"},
		"a key that is an alias":  {"*a : 2\n" + full, "f:1:"},
		"the same key many times": {fill("a: b\n"), "f:2:1"},
		"a field twice":           {"version: 1\n" + full, "f:2:1"},
		"many documents":          {full + "---\n" + full, "YAML documents, want one"},
		"many list items":         {"hosts:\n" + fill("  - x\n")[:200_000], "f:1:1: $.hosts: a list of 33333, at most 1024"},
		"nothing":                 {"", "it is empty"},
		"nothing but a comment":   {"# site\n", "it is empty"},
		"no fields":               {"north", "f:1:1: $: want fields"},
		"bytes that are not text": {"version: 1\nsite: \xff\xfe\n", "f:2:7: $.site: \"\\ufffd\\ufffd\" cannot be printed at byte 0"},
		"a tab for indentation":   {"version: 1\n\tsite: x", "f:2:1"},
		"a quote without end":     {"site: \"" + fill("x\n")[:200_000], "f:1:7"},
	} {
		begin := time.Now()
		_, err := Parse("f", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Parse() = %.200v; want %q", what, err, c.want)
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: Parse() = %T; want *Error", what, err)
		}
		if took := time.Since(begin); took > 10*time.Second { // 0.3 s alone
			t.Errorf("%s: took %v", what, took)
		}
	}
}

func TestLoadReadsNoMoreThanTheBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(path, []byte(full), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(path); err != nil || s.Site != "north" {
		t.Errorf("Load() = %q, %v", s.Site, err)
	}
	if err := os.Truncate(path, 1<<40); err != nil { // sparse
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path+": more than 262144 bytes") {
		t.Errorf("Load() = %v; want the bound", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load() = %v; want os.ErrNotExist", err)
	}
}

func TestALargestSiteFitsTheBound(t *testing.T) {
	var b strings.Builder
	for i := range maxGuests {
		fmt.Fprintf(&b, "  - {name: g%d, memory_mib: 16, kernel: /k, initrd: /i, mac: \"52:54:00:00:02:%02x\", budget_ms: 300,\n     cmdline: %s}\n", i, i, text(2048))
	}
	file, _, _ := strings.Cut(full, "guests:\n")
	if s, err := Parse("f", []byte(file+"guests:\n"+b.String())); err != nil || len(s.Guests) != maxGuests {
		t.Errorf("Parse() = %d guests, %.200v; want %d", len(s.Guests), err, maxGuests)
	}
}

// FuzzParse: any bytes are read or refused without a panic; a refusal is an
// *Error within the file; what was read and is written out by the YAML library
// is read as the same site.
func FuzzParse(f *testing.F) {
	f.Add(Example)
	f.Add([]byte(full))
	for _, c := range bounds {
		at := strings.LastIndexByte(c.field, '.')
		f.Add([]byte("version: 1\n" + c.field[at+1:] + ": " + c.value))
	}
	f.Add([]byte("version: 1\nsite: x\nhosts: [{name: a, role: witness, lan_a: \"::1\"}]"))
	f.Add([]byte(bomb()))
	f.Add([]byte("{{{{"))
	f.Add([]byte("- - - - x"))
	f.Add([]byte("? a\n: |\n  x\n--- !t &a *b\n<<: 'x'"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse("fuzz", b)
		if err != nil {
			checkPlace(t, err, strings.Count(string(b), "\n")+strings.Count(string(b), "\r")+2) // YAML ends a line at either
			return
		}
		out, err := yaml.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		// What was not written comes as null or "".
		out = []byte(strings.NewReplacer("autostart: null\n", "autostart: true\n", ": null\n", ": []\n").Replace(string(out)))
		again, err := Parse("again", out)
		if err != nil {
			t.Fatalf("%s\ncannot be read back: %v", out, err)
		}
		if normal(s) != normal(again) {
			t.Fatalf("%+v comes back as %+v", s, again)
		}
	})
}

func checkPlace(t *testing.T, err error, lines int) {
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%T %v; want *Error", err, err)
	}
	if e.Line < 0 || e.Line > lines || (e.Line > 0 && e.Column < 1) || e.Problem == "" {
		t.Fatalf("%+v is no place in a file of %d lines", e, lines)
	}
}

// normal is equal for equal sites; no list equals an empty one, and a start
// that is not written one that is.
func normal(s Site) string {
	for i := range s.Guests {
		starts := s.Guests[i].Starts()
		s.Guests[i].Autostart = nil
		if !starts {
			s.Guests[i].Name += " (no start)"
		}
	}
	return strings.ReplaceAll(fmt.Sprintf("%+v", reflect.ValueOf(s)), "<nil>", "[]")
}
