package gateway

import (
	"bytes"
	"os"
	"testing"
	"time"

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

// What a page's first use costs is the machine's: 0.1 µs, or 6 where its hypervisor keeps
// page tables in shadow.
func TestMemoryIsMappedWhereAPageIsCheapToUse(t *testing.T) {
	file := sharedMemory(t, 1024*stream.PageSize)
	r, err := openRAM(os.Getpid())
	must(t, err)
	defer r.close()
	must(t, takeMemory(file))
	for dear, want := range map[time.Duration]bool{time.Hour: true, 0: false} {
		if r.mapIfCheap(dear); (r.mapped != nil) != want {
			t.Errorf("where more than %v is dear: mapped: %v; want %v", dear, r.mapped != nil, want)
		}
		if r.mapped != nil {
			t.Logf("a page's first use takes %v here", r.mapped.firstUse())
		}
	}
}

// A page that was used is there: nothing is found dear because of what came in between.
func TestThePagesOfAMappingThatWereUsedAreCheap(t *testing.T) {
	for _, pages := range []int{1, 15, 64, 1000} {
		file := sharedMemory(t, pages*stream.PageSize)
		must(t, takeMemory(file))
		m := mapMemory(file)
		first := m.firstUse()
		if again := m.firstUse(); again > 20*time.Microsecond || first <= 0 {
			t.Errorf("%d pages: %v a page, and again: %v", pages, first, again)
		}
		m.close()
		must(t, file.Close())
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
