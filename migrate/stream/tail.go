package stream

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Tail reads the device state that follows RAM END, up to its exact end: the
// source keeps the connection open, and waits for the destination.
//
// Device sections do not say how long they are; but the stream ends with
// 00 06 <u32 length> {JSON}, and QEMU sends nothing more. So the end is where
// all that has come ends with such a description.
func (r *Reader) Tail() ([]byte, error) {
	var tail []byte
	chunk := make([]byte, 64<<10)
	for {
		n, err := r.in.Read(chunk)
		tail = append(tail, chunk[:n]...)
		r.offset += int64(n)
		if len(tail) > MaxTailBytes {
			return nil, r.fail("device state", fmt.Errorf("more than %d bytes", MaxTailBytes))
		}
		if endsWithDescription(tail) {
			return tail, nil
		}
		if err != nil {
			return nil, r.fail("device state", err)
		}
	}
}

func endsWithDescription(b []byte) bool {
	if len(b) == 0 || b[len(b)-1] != '}' {
		return false
	}
	mark := []byte{openEnd, openVMDesc}
	for from := 0; ; {
		i := bytes.Index(b[from:], mark)
		if i < 0 {
			return false
		}
		at := from + i + len(mark)
		if len(b) > at+4 && b[at+4] == '{' && uint64(binary.BigEndian.Uint32(b[at:])) == uint64(len(b)-at-4) {
			return true
		}
		from += i + 1
	}
}
