package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bumpless/migrate/gateway"
	"bumpless/migrate/policy"
)

func TestHowLongAGuestIsNotHeardOutlivesTheDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "waking.json")
	known := func(guest string) bool { return guest != "gone" }
	var w, again wakings
	err := w.open(path)
	if err != nil || w.keep("g", 40) != 40 {
		t.Fatalf("a new host keeps %d ms, %v; want the site's", w.keep("g", 40), err)
	}
	for _, ms := range []int{90, 110, 1 << 40} {
		if err := w.add("gone", 5, known); err != nil {
			t.Fatal(err)
		}
		if err := w.add("g", ms, known); err != nil {
			t.Fatal(err)
		}
	}
	err = again.open(path)
	if err != nil || again.keep("g", 40) != 110 || again.keep("another", 40) != 40 || len(again.guests) != 1 {
		t.Errorf("a new daemon keeps %d ms of %v, %v; want 110", again.keep("g", 40), again.guests, err)
	}
}

func TestAFileThatIsNotUnderstoodCostsNoMove(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"cut off":         {`{"version":1,"guests":{"g":[1`, "unexpected end"},
		"no JSON":         {"\x00\x00\x00", "invalid character"},
		"another version": {`{"version":2,"guests":{"g":[900]}}`, "version 2, this release understands 1"},
		"too long":        {`{"version":1,"guests":{` + strings.Repeat(" ", maxWakingFile) + `}}`, "more than 65536 bytes"},
		"no numbers":      {`{"version":1,"guests":{"g":["soon"]}}`, "cannot unmarshal"},
	} {
		path := filepath.Join(t.TempDir(), "waking.json")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		var w wakings
		err := w.open(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want %q and the file", name, err, c.want)
		}
		if err := w.add("g", 7, func(string) bool { return true }); err != nil || w.keep("g", 3) != 3 {
			t.Errorf("%s: then %v; it keeps %d ms, want 3", name, err, w.keep("g", 3))
		}
	}
}

func TestADryRunSaysWhatIsKeptUntilTheGuestIsHeard(t *testing.T) {
	if got, want := budgetText(300, 90)+"; "+budgetText(300, 0), "300 ms, 90 of them kept until it is heard there; 300 ms"; got != want {
		t.Errorf("budgetText() = %q; want %q", got, want)
	}
}

// FuzzWakings: any file is read or refused, and what was read keeps what a budget can.
func FuzzWakings(f *testing.F) {
	f.Add([]byte(`{"version":1,"guests":{"g":[1,2,3,4,5,6],"h":[-1,99999999999]}}`))
	f.Add([]byte(`{"version":1,"guests":{"g":null}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := wakings{guests: map[string]policy.Waking{}}
		if w.read(strings.NewReader(string(b))) != nil {
			return
		}
		for g := range w.guests {
			if ms := w.keep(g, 0); ms < 0 || ms > gateway.MaxWakingMs {
				t.Errorf("%q keeps %d ms of %v", g, ms, w.guests[g])
			}
		}
	})
}
