package gateway

import (
	"fmt"
	"math"
	"os"
	"time"

	"bumpless/migrate/stream"

	"golang.org/x/sys/unix"
)

// mapping of a guest's memory into this process: a page is written and read there
// without a system call. Of a file's pages in their order pwritev(2) took 0.64 µs
// each, and this, with its page faults, 0.41; of single ones in any order 1.9 and
// 0.78. Page tables are taken as pages are used, of the guest's RAM 0.2 % at most:
// to fill them before would take 60 ms of a move's begin for each GiB.
//
// Under a hypervisor that keeps page tables in shadow each page's first use costs 6 µs:
// see firstUse.
//
// What becomes of a file is SIGBUS in a mapping and not an error: see mapMemory.
type mapping struct {
	bytes []byte
	seen  byte
}

// mapMemory maps a memory file that nobody can make shorter (QEMU seals it), and of
// which all is there, so that a page fault finds its page. nil: it is not that, or
// cannot be mapped, and is written and read as a file.
func mapMemory(file *os.File) *mapping {
	fd := file.Fd()
	seals, err := unix.FcntlInt(fd, unix.F_GET_SEALS, 0)
	if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
		return nil
	}
	var about unix.Stat_t
	if err := unix.Fstat(int(fd), &about); err != nil || about.Blocks*statBlock < about.Size {
		return nil
	}
	b, err := unix.Mmap(int(fd), 0, int(about.Size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	return &mapping{bytes: b}
}

// statBlock is the unit of stat(2)'s st_blocks.
const statBlock = 512

// page of the guest.
func (m *mapping) page(offset uint64) ([]byte, error) {
	if size := uint64(len(m.bytes)); size < stream.PageSize || offset > size-stream.PageSize {
		return nil, fmt.Errorf("the page at 0x%x is outside the guest's memory of %d bytes", offset, size)
	}
	return m.bytes[offset : offset+stream.PageSize], nil
}

// write a page. It is looked at before: a page fault for reading maps the 16 pages
// around it, for writing, too; one for writing maps one, and takes as long.
func (m *mapping) write(offset uint64, data []byte) error {
	into, err := m.page(offset)
	if err != nil {
		return err
	}
	m.seen = into[0]
	copy(into, data)
	return nil
}

func (m *mapping) read(offset uint64, into []byte) error {
	from, err := m.page(offset)
	if err != nil {
		return err
	}
	copy(into, from)
	return nil
}

// dearUse is how long a page's first use may take in a mapping that is worth it.
const dearUse = time.Microsecond

// firstUse is how long a page takes that is used for the first time: the least of four
// places', since anything may come in between.
func (m *mapping) firstUse() time.Duration {
	const around = 16 // pages that a fault maps
	least := time.Duration(math.MaxInt64)
	for place := range 4 {
		at := len(m.bytes) / 4 * place &^ (around*stream.PageSize - 1)
		end := min(at+around*stream.PageSize, len(m.bytes))
		begun := time.Now()
		for ; at < end; at += stream.PageSize {
			m.seen = m.bytes[at]
		}
		least = min(least, time.Since(begun)/around)
	}
	return least
}

func (m *mapping) close() { _ = unix.Munmap(m.bytes) } // it is a mapping: that cannot fail
