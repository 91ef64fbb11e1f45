package gateway

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// pool hands out contents, and takes them back.
type pool struct {
	free  []*content
	chunk []content // not handed out yet
	real  int       // of them, that have memory behind them
}

// chunkSize in contents: 16 MiB are set aside at a time, and get memory as they
// are used.
const chunkSize = 4096

// aheadBytes of memory are made real at once.
const aheadBytes = 2 << 20

func (p *pool) get() *content {
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	if len(p.chunk) == 0 {
		p.chunk = make([]content, chunkSize)
	}
	if p.real == 0 {
		p.real = back(p.chunk)
	}
	c := &p.chunk[0]
	p.chunk, p.real = p.chunk[1:], p.real-1
	return c
}

func (p *pool) put(c *content) { p.free = append(p.free, c) }

// back puts memory behind the next contents, and says behind how many. A gateway
// fills a hundred MiB within half a second: 80 % of its page faults were for
// contents, two for each since Go looks before it writes. Huge pages are not asked
// for: a kernel that has none at hand makes them while the move waits (in a
// virtual machine whose host takes free memory back, 200 MiB took 460 ms in huge
// pages, 70 ms in small ones).
func back(contents []content) int {
	n := min(len(contents), aheadBytes/len(content{}))
	b := unsafe.Slice((*byte)(unsafe.Pointer(&contents[0])), n*len(content{}))
	// It need not begin at a page, which Madvise wants; a kernel that cannot do it
	// puts memory behind it page by page.
	if skip := -uintptr(unsafe.Pointer(&b[0])) % pageSize; int(skip) < len(b) {
		_ = unix.Madvise(b[skip:], unix.MADV_POPULATE_WRITE)
	}
	return n
}

// pageSize of the kernel's memory, in bytes.
const pageSize = 4096
