package stream

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// chunks gives one chunk for each Read, then blocks like a source that keeps
// its connection open.
type chunks struct {
	list [][]byte
	open chan struct{}
}

func (c *chunks) Read(b []byte) (int, error) {
	if len(c.list) == 0 {
		<-c.open
		return 0, io.EOF
	}
	n := copy(b, c.list[0])
	if c.list[0] = c.list[0][n:]; len(c.list[0]) == 0 {
		c.list = c.list[1:]
	}
	return n, nil
}

func TestTailEndsExactlyWhereTheDescriptionDoes(t *testing.T) {
	json := `{"page_size":4096,"devices":[{"name":"timer"}]}`
	plain := tail("\x04state", json)
	// Looks like a description, and its length reaches into the real one.
	decoy := tail("\x00\x06\x00\x00\x00\x05{a}", json)
	// A complete description of its own in the middle of the state, as a
	// device could hold one: more comes after it.
	nested := tail(string(tail("x", "{}"))+"y}", json)
	for _, c := range []struct {
		name string
		list [][]byte
	}{
		{"in one read", [][]byte{plain}},
		{"split before the mark", [][]byte{plain[:6], plain[6:]}},
		{"split in the mark", [][]byte{plain[:7], plain[7:]}},
		{"split in the length", [][]byte{plain[:10], plain[10:]}},
		{"split after an inner brace", [][]byte{plain[:len(plain)-2], plain[len(plain)-2:]}},
		{"split before the last brace", [][]byte{plain[:len(plain)-1], plain[len(plain)-1:]}},
		{"read ends with a brace of the state", [][]byte{[]byte("state}"), tail("more}", json)}},
		{"decoy", [][]byte{decoy}},
		{"nested", [][]byte{nested}},
		{"no state", [][]byte{tail("", json)}},
	} {
		in := &chunks{list: c.list, open: make(chan struct{})}
		want := bytes.Join(c.list, nil)
		got := make(chan []byte, 1)
		go func() {
			b, _ := NewReader(in, 4096).Tail()
			got <- b
		}()
		select {
		case b := <-got:
			if !bytes.Equal(b, want) {
				t.Errorf("%s: Tail() = %q; want %q", c.name, b, want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: Tail() waits for more than there is", c.name)
		}
		close(in.open)
	}
}

func TestDeviceStateWithoutAnEndIsRefused(t *testing.T) {
	_, err := NewReader(io.LimitReader(endless{}, 1<<30), 4096).Tail()
	if e, ok := err.(*Error); !ok || e.Field != "device state" || e.Offset > MaxTailBytes+1<<20 {
		t.Errorf("Tail() = %v; want an error about device state soon after %d bytes", err, MaxTailBytes)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
