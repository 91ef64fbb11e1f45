package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"bumpless/migrate/stream"

	"golang.org/x/sys/unix"
)

// ram is the destination's guest RAM where it lies in a memory file that QEMU
// shares (memory-backend-memfd, share=on): what arrives is written there, and not
// through QEMU's stream. The stream says nothing of those pages then, which QEMU
// takes for "as they are".
//
// QEMU has not run the guest, and reads of its memory only once the device state
// comes, behind all pages. It is written with pwritev(2) and not mapped: a file
// that cannot grow any more is an error here, and SIGBUS in a mapping.
type ram struct {
	file  *os.File
	block int

	at      uint64 // offset of what waits
	waiting [][]byte
	bytes   int64 // written
}

// sharedName is what QEMU calls the file (TYPE_MEMORY_BACKEND_MEMFD).
const sharedName = "/memfd:memory-backend-memfd"

// openRAM finds the memory file among those of the process. nil: there is none, or
// the sizes do not say which block it is, and everything goes through the stream.
// It is emptied: what QEMU has put there is not the guest's.
func openRAM(pid int, blocks []stream.Block) (*ram, error) {
	path := sharedFile(pid)
	if path == "" {
		return nil, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the guest's memory: %w", err)
	}
	r := &ram{file: file}
	if r.block, err = blockOfSize(file, blocks); err != nil || r.block < 0 {
		file.Close()
		return nil, err
	}
	if err := r.clear(0, blocks[r.block].Size); err != nil {
		file.Close()
		return nil, err
	}
	return r, nil
}

// sharedFile is the path of the process's one memory file; "" for none, or many.
func sharedFile(pid int) string {
	found := ""
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	list, err := os.ReadDir(dir)
	if err != nil {
		return "" // not our process's to read
	}
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		if name, err := os.Readlink(path); err != nil || !strings.HasPrefix(name, sharedName) {
			continue
		}
		if found != "" {
			return ""
		}
		found = path
	}
	return found
}

// blockOfSize is the only block of the file's size; -1 for none.
func blockOfSize(file *os.File, blocks []stream.Block) (int, error) {
	info, err := file.Stat()
	if err != nil {
		return -1, fmt.Errorf("open the guest's memory: %w", err)
	}
	found := -1
	for i, b := range blocks {
		if b.Size != uint64(info.Size()) {
			continue
		}
		if found >= 0 {
			return -1, nil
		}
		found = i
	}
	return found, nil
}

// has tells whether a block's pages are written here.
func (r *ram) has(block int) bool { return r != nil && r.block == block }

// page writes a page; what follows on the one before waits for flush, data's
// memory included. nil is a page of zeros; held: something else is there now.
func (r *ram) page(offset uint64, data []byte, held bool) error {
	if data == nil {
		if !held {
			return nil // it was never written
		}
		return r.clear(offset, stream.PageSize)
	}
	if n := uint64(len(r.waiting)) * stream.PageSize; n > 0 && r.at+n != offset {
		if err := r.flush(); err != nil {
			return err
		}
	}
	if len(r.waiting) == 0 {
		r.at = offset
	}
	r.waiting = append(r.waiting, data)
	return nil
}

// clear makes zeros, and gives the memory back.
func (r *ram) clear(offset, size uint64) error {
	if err := r.flush(); err != nil {
		return err
	}
	if err := unix.Fallocate(int(r.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(offset), int64(size)); err != nil {
		return fmt.Errorf("clear the guest's memory at 0x%x: %w", offset, err)
	}
	return nil
}

// flush writes what waits.
func (r *ram) flush() error {
	if r == nil {
		return nil
	}
	left := r.waiting
	r.waiting = r.waiting[:0]
	for len(left) > 0 {
		n, err := unix.Pwritev(int(r.file.Fd()), left, int64(r.at))
		if err == nil && n%stream.PageSize != 0 {
			err = fmt.Errorf("%d bytes of %d pages were taken", n, len(left))
		}
		if err != nil {
			return fmt.Errorf("write the guest's memory at 0x%x: %w (is this host out of memory?)", r.at, err)
		}
		left, r.at, r.bytes = left[n/stream.PageSize:], r.at+uint64(n), r.bytes+int64(n)
	}
	return nil
}

func (r *ram) close() {
	if r != nil {
		r.file.Close()
	}
}
