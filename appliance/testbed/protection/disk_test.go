package protection

import (
	"errors"
	"testing"
)

// memoryDisk keeps what was written, and may lie or fail.
type memoryDisk struct {
	data  []byte
	syncs int
	fail  error
}

func (d *memoryDisk) ReadAt(b []byte, at int64) (int, error)  { return copy(b, d.data[at:]), d.fail }
func (d *memoryDisk) WriteAt(b []byte, at int64) (int, error) { return copy(d.data[at:], b), d.fail }
func (d *memoryDisk) Sync() error                             { d.syncs++; return d.fail }

const testBlocks = 37 // not a multiple of what is read at once

func newBlocks(t *testing.T, d *memoryDisk) *Blocks {
	t.Helper()
	b := NewBlocks(d, make([]byte, 16*BlockSize), testBlocks)
	if _, _, err := b.Begin(); err != nil {
		t.Fatal(err)
	}
	return b
}

func verifyAll(t *testing.T, b *Blocks) (corrupt int) {
	t.Helper()
	for i := 0; i < b.Len(); {
		n, bad, err := b.Verify(i)
		if err != nil {
			t.Fatal(err)
		}
		i, corrupt = i+n, corrupt+bad
	}
	return corrupt
}

func TestABlockThatIsNotWhatWasWrittenIsFound(t *testing.T) {
	for name, harm := range map[string]func(d *memoryDisk, old []byte){
		"nothing":             nil,
		"a bit flips":         func(d *memoryDisk, _ []byte) { d.data[5*BlockSize+100] ^= 1 },
		"an old version":      func(d *memoryDisk, old []byte) { copy(d.data[5*BlockSize:], old) },
		"another one's block": func(d *memoryDisk, _ []byte) { copy(d.data[5*BlockSize:6*BlockSize], d.data[6*BlockSize:]) },
		"blank":               func(d *memoryDisk, _ []byte) { clear(d.data[5*BlockSize : 6*BlockSize]) },
	} {
		d := &memoryDisk{data: make([]byte, testBlocks*BlockSize)}
		b := newBlocks(t, d)
		old := append([]byte(nil), d.data[5*BlockSize:6*BlockSize]...)
		if err := b.Write(5); err != nil {
			t.Fatal(err)
		}
		want := 0
		if harm != nil {
			harm(d, old)
			want = 1
		}
		if got := verifyAll(t, b); got != want {
			t.Errorf("%s: Verify() finds %d corrupt blocks; want %d", name, got, want)
		}
	}
}

func TestWhatAnEarlierBootWroteMustProveItself(t *testing.T) {
	d := &memoryDisk{data: make([]byte, testBlocks*BlockSize)}
	if err := newBlocks(t, d).Write(3); err != nil {
		t.Fatal(err)
	}
	again := NewBlocks(d, make([]byte, 16*BlockSize), testBlocks)
	if written, corrupt, err := again.Begin(); written != 0 || corrupt != 0 || err != nil {
		t.Errorf("Begin() on a whole disk = %d, %d, %v; want 0, 0", written, corrupt, err)
	}
	if n := verifyAll(t, again); n != 0 {
		t.Errorf("%d corrupt blocks after a restart; want none", n)
	}
	d.data[3*BlockSize+50] ^= 1
	torn := NewBlocks(d, make([]byte, 16*BlockSize), testBlocks)
	if _, corrupt, err := torn.Begin(); corrupt != 1 || err != nil {
		t.Errorf("Begin() on a damaged disk = %d corrupt, %v; want 1", corrupt, err)
	}
}

func TestEveryWriteIsFlushedAndItsErrorTold(t *testing.T) {
	d := &memoryDisk{data: make([]byte, testBlocks*BlockSize)}
	b := newBlocks(t, d)
	before := d.syncs
	if err := b.Write(1); err != nil || d.syncs != before+1 {
		t.Errorf("Write() = %v with %d flushes; want one", err, d.syncs-before)
	}
	d.fail = errors.New("no medium")
	if err := b.Write(1); !errors.Is(err, d.fail) {
		t.Errorf("Write() = %v; want %v", err, d.fail)
	}
	if _, _, err := b.Verify(1); !errors.Is(err, d.fail) {
		t.Errorf("Verify() = %v; want %v", err, d.fail)
	}
}
