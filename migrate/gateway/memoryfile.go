package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"bumpless/migrate/stream"
)

// memoryFile is a guest's RAM where it lies in a file that its QEMU shares
// (memory-backend-memfd, share=on).
type memoryFile struct {
	file  *os.File
	block int // -1: not known yet, or none
}

// openMemory finds the memory file among those of the process. nil: there is none,
// or more than one.
func openMemory(pid, flags int) (*memoryFile, error) {
	path := sharedFile(pid)
	if path == "" {
		return nil, nil
	}
	file, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("open the guest's memory: %w", err)
	}
	return &memoryFile{file: file, block: -1}, nil
}

// sharedName is what QEMU calls the file (TYPE_MEMORY_BACKEND_MEMFD).
const sharedName = "/memfd:memory-backend-memfd"

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

// find the block that the file is: the only one of its size.
func (m *memoryFile) find(blocks []stream.Block) error {
	size, err := m.size()
	if err != nil {
		return err
	}
	for i, b := range blocks {
		switch {
		case b.Size != uint64(size):
		case m.block >= 0:
			m.block = -1
			return nil
		default:
			m.block = i
		}
	}
	return nil
}

func (m *memoryFile) size() (int64, error) {
	info, err := m.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("open the guest's memory: %w", err)
	}
	return info.Size(), nil
}

// read a page as it is now.
func (m *memoryFile) read(offset uint64, page []byte) error {
	if n, err := m.file.ReadAt(page, int64(offset)); err != nil {
		return fmt.Errorf("read the guest's memory at 0x%x: %d bytes, %w", offset, n, err)
	}
	return nil
}

// has tells whether a block's pages are in the file.
func (m *memoryFile) has(block int) bool { return m != nil && m.block == block }

func (m *memoryFile) close() { m.file.Close() }
