package gateway

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"bumpless/migrate/stream"

	"golang.org/x/sys/unix"
)

// sharedMemory is a memory file as QEMU makes it, with something in it. This
// process is the QEMU.
func sharedMemory(t testing.TB, size int) *os.File {
	t.Helper()
	file := unsealedMemory(t, size)
	_, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	must(t, err)
	return file
}

// unsealedMemory is one that may become shorter.
func unsealedMemory(t testing.TB, size int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("memory-backend-memfd", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	must(t, err)
	file := os.NewFile(uintptr(fd), "memory")
	t.Cleanup(func() { file.Close() })
	must(t, file.Truncate(int64(size)))
	_, err = file.WriteAt(bytes.Repeat([]byte("what the firmware left"), 10*stream.PageSize/22), 0)
	must(t, err)
	return file
}

// takeMemory puts memory behind all of a file.
func takeMemory(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	b, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(b) }() // it is a mapping
	return unix.Madvise(b, unix.MADV_POPULATE_WRITE)
}

// readMemory returns the pages; "" for zeros.
func readMemory(t testing.TB, file *os.File) map[uint64]string {
	t.Helper()
	info, err := file.Stat()
	must(t, err)
	b := make([]byte, info.Size())
	_, err = file.ReadAt(b, 0)
	must(t, err)
	memory, zeros := map[uint64]string{}, string(make([]byte, stream.PageSize))
	for offset := 0; offset < len(b); offset += stream.PageSize {
		if page := string(b[offset : offset+stream.PageSize]); page != zeros {
			memory[uint64(offset)] = page
		} else {
			memory[uint64(offset)] = ""
		}
	}
	return memory
}

func TestAGuestsPagesAreWrittenToTheMemoryThatItsQEMUShares(t *testing.T) {
	for how, memory := range map[string]func(testing.TB, int) *os.File{"mapped": sharedMemory, "not mapped": unsealedMemory} {
		b := newBench(t)
		b.dst.shared = memory(t, fakePages*stream.PageSize)
		b.src.hot = 64
		b.begin()
		r, d := b.result(0), b.result(1)
		if r.Outcome != Moved || !r.DigestEqual || d.Outcome != Moved {
			t.Fatalf("%s: %+v, %+v; want moved", how, r, d)
		}
		if want := int64(fakePages) * 2 / 3 * stream.PageSize; d.WrittenBytes < want {
			t.Errorf("%s: %d bytes were written past QEMU; want at least %d", how, d.WrittenBytes, want)
		}
		if !maps.Equal(b.src.memory, b.dst.memory) {
			t.Errorf("%s: the memories differ", how)
		}
		if !b.dst.populated {
			t.Errorf("%s: the memory was not taken beforehand", how)
		}
		must(t, b.dst.shared.Close()) // two files could not be told apart
	}
}

func TestMemoryThatCannotBeToldApartIsFilledThroughTheStream(t *testing.T) {
	const size = 256 * stream.PageSize
	file := sharedMemory(t, size)
	ours, other := stream.Block{Name: "pc.ram", Size: size}, stream.Block{Name: "vga", Size: 2 * size}
	for _, c := range []struct {
		why    string
		blocks []stream.Block
		pid    int
		want   bool
	}{
		{"one block of the file's size", []stream.Block{other, ours}, os.Getpid(), true},
		{"two of them", []stream.Block{ours, ours}, os.Getpid(), false},
		{"none", []stream.Block{other}, os.Getpid(), false},
		{"the kernel does not say whose process it is", []stream.Block{other, ours}, 0, false},
	} {
		r, err := openRAM(c.pid)
		must(t, err)
		must(t, r.find(c.blocks))
		if r.has(1) != c.want || r.has(0) || r.has(2) {
			t.Errorf("%s: %+v; want to have block 1: %v", c.why, r, c.want)
		}
		r.close()
	}
	second := sharedMemory(t, size)
	defer second.Close()
	before := readMemory(t, file)
	if r, err := openRAM(os.Getpid()); r != nil || err != nil || !maps.Equal(readMemory(t, file), before) {
		t.Errorf("two files: openRAM() = %v, %v; want none, untouched", r, err)
	}
}

func TestWhatQEMUHasPutIntoTheMemoryIsNotTheGuests(t *testing.T) {
	file := sharedMemory(t, 256*stream.PageSize)
	r, err := openRAM(os.Getpid())
	must(t, err)
	defer r.close()
	if slices.ContainsFunc(slices.Collect(maps.Values(readMemory(t, file))), func(page string) bool { return page != "" }) {
		t.Error("it is not empty")
	}
}

// The source is not asked for anything then.
func TestAHostWithoutTheMemoryOfAGuestDoesNotWaitForIt(t *testing.T) {
	b := newBench(t)
	b.dst.shared, b.dst.noMemory = sharedMemory(t, fakePages*stream.PageSize), true
	b.dst.run()
	r, err := RunDestination(t.Context(), b.destination, func(e Event) {
		if len(e.Addresses) > 0 {
			t.Error("it listens")
		}
	})
	if err != nil || r.Outcome != Failed || !strings.Contains(r.Reason, "out of memory") {
		t.Errorf("%+v, %v; want failed for want of memory", r, err)
	}
}

func TestMemoryThatCannotGrowIsAnErrorAndNotASignal(t *testing.T) {
	const size = 16 * stream.PageSize
	unsealedMemory(t, size)
	r, err := openRAM(os.Getpid())
	must(t, err)
	defer r.close()
	must(t, r.file.Truncate(stream.PageSize))
	_, err = unix.FcntlInt(r.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW)
	must(t, err)
	must(t, r.page(0, make([]byte, stream.PageSize), false))
	must(t, r.flush())
	must(t, r.page(stream.PageSize, make([]byte, stream.PageSize), false))
	if err := r.flush(); err == nil || !strings.Contains(err.Error(), "0x1000") {
		t.Errorf("flush() = %v; want an error that names the place", err)
	}
}

// Its memory can be written all the same.
func TestAQEMUThatDiesWhileItsMemoryIsWrittenEndsTheMoveBeforeTheStop(t *testing.T) {
	b := newBench(t)
	b.dst.shared = sharedMemory(t, fakePages*stream.PageSize)
	b.onEvent = func(side string, e Event) {
		if side == "source" && e.Pass != nil && e.Pass.Number == 1 {
			b.dst.die()
		}
	}
	b.src.hot = fakePages
	b.begin()
	r := b.result(0)
	if _, stops := b.src.is(); r.Outcome != Failed || stops != 0 || !strings.Contains(r.Reason, "QEMU is gone") {
		t.Errorf("%+v after %d stops; want failed without one, since the destination's QEMU is gone", r, stops)
	}
}

// A guest that clears what it has written sends a long run of zeros, and the kernel
// takes 1024 pieces at a time (writev(2), IOV_MAX).
func TestALongRunOfZerosIsWrittenToMemoryThatIsNotMapped(t *testing.T) {
	const pages = 3000
	file := unsealedMemory(t, pages*stream.PageSize)
	r, err := openRAM(os.Getpid())
	must(t, err)
	defer r.close()
	for _, data := range [][]byte{bytes.Repeat([]byte{1}, stream.PageSize), nil} {
		for at := range uint64(pages) {
			must(t, r.page(at*stream.PageSize, data, true))
		}
		must(t, r.flush())
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(readMemory(t, file))), func(page string) bool { return page != "" }) {
		t.Error("it is not all zeros")
	}
}
