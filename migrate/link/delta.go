package link

import (
	"encoding/binary"
	"errors"
)

// maxDelta bytes are worth more than the page itself, which compresses too.
const maxDelta = PageSize / 2

// word is the grain in which a delta looks for what is the same, in bytes: to
// say so costs two to four.
const word = 8

// AppendDelta appends what turns the content base into page, both of PageSize
// bytes, in the form of QEMU's XBZRLE (migration/xbzrle.c): the length of what
// is the same, the length of what is not (ULEB128 of at most two bytes), and
// the latter itself; again until nothing differs. ok is false, and b as it was,
// when that is long.
func AppendDelta(b, base, page []byte) (delta []byte, ok bool) {
	delta = b
	for at := 0; ; {
		same := at
		for at < PageSize && equalWord(base, page, at) {
			at += word
		}
		if at == PageSize {
			return delta, true
		}
		changed := at
		for at < PageSize && !equalWord(base, page, at) {
			at += word
		}
		if len(delta)-len(b)+4+at-changed > maxDelta {
			return b, false
		}
		delta = binary.AppendUvarint(delta, uint64(changed-same))
		delta = binary.AppendUvarint(delta, uint64(at-changed))
		delta = append(delta, page[changed:at]...)
	}
}

func equalWord(a, b []byte, at int) bool {
	return binary.NativeEndian.Uint64(a[at:at+word]) == binary.NativeEndian.Uint64(b[at:at+word])
}

var errDelta = errors.New("malformed delta")

// ApplyDelta turns the content page, of PageSize bytes, into the one that delta
// leads to. After an error page is neither.
func ApplyDelta(page, delta []byte) error {
	for at := 0; len(delta) > 0; {
		var same, changed int
		var err error
		if same, delta, err = run(delta); err != nil {
			return err
		}
		if changed, delta, err = run(delta); err != nil {
			return err
		}
		if at += same; changed == 0 || at+changed > PageSize || changed > len(delta) {
			return errDelta
		}
		copy(page[at:], delta[:changed])
		at, delta = at+changed, delta[changed:]
	}
	return nil
}

// run reads a length of at most two bytes.
func run(b []byte) (n int, rest []byte, err error) {
	switch {
	case len(b) > 0 && b[0] < 0x80:
		return int(b[0]), b[1:], nil
	case len(b) > 1 && b[1] < 0x80:
		return int(b[0]&0x7f) | int(b[1])<<7, b[2:], nil
	}
	return 0, nil, errDelta
}
