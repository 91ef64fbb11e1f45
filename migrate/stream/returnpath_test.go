package stream

import (
	"bytes"
	"reflect"
	"testing"
)

func TestReturnMessagesRoundTrip(t *testing.T) {
	for _, m := range []ReturnMessage{
		{ReturnSwitchoverAck, []byte{}}, {ReturnShut, make([]byte, 4)}, {ReturnPong, []byte{0, 0, 0, 1}}, {3, make([]byte, maxReturn)},
	} {
		var b bytes.Buffer
		mustDo(t, WriteReturn(&b, m))
		got, err := ReadReturn(&b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("ReadReturn() = %v, %v; want %v", got, err, m)
		}
	}
	var b bytes.Buffer
	mustDo(t, WriteReturn(&b, ReturnMessage{Type: ReturnSwitchoverAck}))
	if want := []byte{0, 7, 0, 0}; !bytes.Equal(b.Bytes(), want) {
		t.Errorf("WriteReturn(SWITCHOVER_ACK) = %x; want %x", b.Bytes(), want)
	}
}

func TestReturnMessagesAreBounded(t *testing.T) {
	for name, in := range map[string][]byte{
		"nothing": nil, "half a header": {0, 1}, "too long": {0, 1, 2, 1}, "64 KiB": {0, 1, 0xff, 0xff}, "truncated": {0, 1, 0, 4, 1},
	} {
		if m, err := ReadReturn(bytes.NewReader(in)); err == nil {
			t.Errorf("%s: ReadReturn() = %v; want an error", name, m)
		}
	}
	if err := WriteReturn(new(bytes.Buffer), ReturnMessage{Data: make([]byte, maxReturn+1)}); err == nil {
		t.Error("WriteReturn() of too much = nil; want an error: its length would be cut to 16 bits")
	}
}

func FuzzReturn(f *testing.F) {
	f.Add([]byte{0, 1, 0, 4, 0, 0, 0, 0, 0, 7, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		for {
			m, err := ReadReturn(r)
			if err != nil {
				return
			}
			if len(m.Data) > maxReturn {
				t.Fatalf("%d bytes of data; want at most %d", len(m.Data), maxReturn)
			}
		}
	})
}
