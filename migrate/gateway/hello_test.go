package gateway

import (
	"bytes"
	"strings"
	"testing"

	"bumpless/migrate/link"
)

func TestHelloIsChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		kind link.Type
		body string
		want string // in the error; "" for none
	}{
		{"good", link.Hello, `{"version":1,"move":"m","guest":"g","connection":1,"connections":2}`, ""},
		{"not JSON", link.Hello, `hello`, "read HELLO"},
		{"another frame", link.Commit, ``, "a COMMIT frame"},
		{"refused", link.Abort, `no room`, "the peer refuses: no room"},
		{"another version", link.Hello, `{"version":2,"move":"m","guest":"g","connections":1}`, "version 2"},
		{"another move", link.Hello, `{"version":1,"move":"x","guest":"g","connections":1}`, `move "x"`},
		{"another guest", link.Hello, `{"version":1,"move":"m","guest":"x","connections":1}`, `guest "x"`},
		{"no connections", link.Hello, `{"version":1,"move":"m","guest":"g"}`, "connection 0 of 0"},
		{"too many connections", link.Hello, `{"version":1,"move":"m","guest":"g","connections":17}`, "of 17"},
		{"beyond the last", link.Hello, `{"version":1,"move":"m","guest":"g","connection":2,"connections":2}`, "connection 2 of 2"},
		{"a disk", link.Hello, `{"version":1,"move":"m","guest":"g","connection":1,"connections":2,"disks":8,"disk":8}`, ""},
		{"beyond the last disk", link.Hello, `{"version":1,"move":"m","guest":"g","connections":2,"disks":2,"disk":3}`, "disk 3 of 2"},
		{"too many disks", link.Hello, `{"version":1,"move":"m","guest":"g","connections":2,"disks":9}`, "disk 0 of 9"},
		{"before the first disk", link.Hello, `{"version":1,"move":"m","guest":"g","connections":2,"disks":2,"disk":-1}`, "disk -1"},
		{"heard before it runs", link.Hello, `{"version":1,"move":"m","guest":"g","connections":1,"waking_ms":-1}`, "heard after -1 ms"},
		{"heard too late", link.Hello, `{"version":1,"move":"m","guest":"g","connections":1,"waking_ms":600001}`, "want at most 600000"},
		{"before the first", link.Hello, `{"version":1,"move":"m","guest":"g","connection":-1,"connections":2}`, "connection -1"},
	} {
		var b bytes.Buffer
		must(t, link.Write(&b, link.Frame{Type: c.kind, Body: []byte(c.body)}))
		h, err := readHello(link.NewReader(&b), "m", "g")
		if (c.want == "" && (err != nil || h.Connection != 1 || h.Total != 2)) || (c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want))) {
			t.Errorf("%s: %+v, %v; want %q", c.name, h, err, c.want)
		}
	}
	if _, err := readHello(link.NewReader(new(bytes.Buffer)), "m", "g"); err == nil {
		t.Error("readHello() of nothing = nil; want an error")
	}
}

func TestOnlyKindsThatBothKnowAreSent(t *testing.T) {
	for said, want := range map[int]link.Kind{-1: link.Delta, 0: link.Delta, int(link.Same): link.Same, int(link.LastKind): link.LastKind, 1 << 30: link.LastKind} {
		if got := (hello{Kinds: said}).kinds(); got != want {
			t.Errorf("kinds() of %d = %d; want %d", said, got, want)
		}
	}
}
