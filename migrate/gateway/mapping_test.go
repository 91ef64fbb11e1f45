package gateway

import (
	"bytes"
	"os"
	"testing"

	"bumpless/migrate/stream"
)

func TestMemoryThatMayBecomeShorterOrIsNotAllThereIsNotMapped(t *testing.T) {
	const size = 16 * stream.PageSize
	for _, c := range []struct {
		why    string
		memory func(testing.TB, int) *os.File
		taken  bool
		want   bool
	}{
		{"sealed, and all of it is there", sharedMemory, true, true},
		{"sealed, and empty", sharedMemory, false, false},
		{"not sealed", unsealedMemory, true, false},
	} {
		file := c.memory(t, size)
		r, err := openRAM(os.Getpid())
		must(t, err)
		if c.taken {
			must(t, takeMemory(file))
		}
		if r.mapped = mapMemory(r.file); (r.mapped != nil) != c.want {
			t.Errorf("%s: mapped: %v; want %v", c.why, r.mapped != nil, c.want)
		}
		r.close()
		must(t, file.Close()) // two files could not be told apart
	}
}

func mappedRAM(t *testing.T, size int) (*ram, *os.File) {
	t.Helper()
	file := sharedMemory(t, size)
	r, err := openRAM(os.Getpid())
	must(t, err)
	must(t, takeMemory(file))
	if r.mapped = mapMemory(r.file); r.mapped == nil {
		t.Fatal("the memory was not mapped")
	}
	t.Cleanup(r.close)
	return r, file
}

func TestAPageOutsideTheMappingIsAnErrorAndNotASignal(t *testing.T) {
	const size = 16 * stream.PageSize
	r, _ := mappedRAM(t, size)
	page := bytes.Repeat([]byte{7}, stream.PageSize)
	for offset, inside := range map[uint64]bool{
		0: true, size - stream.PageSize: true,
		size - stream.PageSize + 1: false, size: false, 1 << 40: false, 1<<64 - stream.PageSize: false, 1<<64 - 1: false,
	} {
		if err := r.page(offset, page, true); (err == nil) != inside {
			t.Errorf("page(0x%x) = %v; inside: %v", offset, err, inside)
		}
		if err := r.read(offset, make([]byte, stream.PageSize)); (err == nil) != inside {
			t.Errorf("read(0x%x) = %v; inside: %v", offset, err, inside)
		}
	}
}

// A receiver may come too late for the move's end.
func TestNothingIsWrittenWhenTheMappingIsGone(t *testing.T) {
	r, file := mappedRAM(t, 16*stream.PageSize)
	r.close()
	err := r.page(0, bytes.Repeat([]byte{7}, stream.PageSize), true)
	if err == nil {
		err = r.flush()
	}
	if err == nil || readMemory(t, file)[0] != "" {
		t.Errorf("a page that came too late: %v; want an error, and nothing written", err)
	}
	if err := r.read(0, make([]byte, stream.PageSize)); err == nil {
		t.Error("a page could be read; want an error")
	}
}
