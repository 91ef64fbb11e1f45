package gateway

import (
	"fmt"

	"bumpless/migrate/stream"

	"golang.org/x/sys/unix"
)

// unread is a content of a batch that is not kept, but read when it is sent.
type unread struct {
	page    int // its place among the batch's pages
	content int // and among its contents
	at      int // the page's number in the table
}

// readLate reads those contents of a batch, as they are now, and takes note of what
// is being sent.
//
// The guest runs meanwhile, and a page may be torn. What it writes behind QEMU's
// look at a page makes that come again: what is sent of it last, in its highest
// version, was read behind the last write, and is what QEMU's stream brought of it
// last. The digest is of the latter.
func (t *table) readLate(b *batch) error {
	if len(b.unread) == 0 {
		return nil
	}
	tags, err := t.readUnread(b)
	if err != nil {
		return err
	}
	t.noteSent(b, tags)
	return nil
}

func (t *table) readUnread(b *batch) (tags []tag, err error) {
	for begin := 0; begin < len(b.unread); {
		end := begin + 1
		for end < len(b.unread) && b.follows(b.unread[end-1], b.unread[end]) {
			end++
		}
		if err := t.readRun(b, b.unread[begin:end]); err != nil {
			return nil, err
		}
		begin = end
	}
	for _, u := range b.unread {
		p := b.pages[u.page]
		is := t.hasher.page(int(p.Block), uint64(p.Index), p.Data)
		b.contents[u.content].hash = t.hasher.contentOf(int(p.Block), uint64(p.Index), is)
		tags = append(tags, is)
	}
	return tags, nil
}

func (t *table) noteSent(b *batch, tags []tag) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, u := range b.unread {
		t.pages.Sent(u.at, b.pages[u.page].Version, tags[i])
	}
	t.read += int64(len(b.unread)) * stream.PageSize
	b.unread = b.unread[:0]
}

// follows tells whether one page lies behind the other.
func (b *batch) follows(one, other unread) bool {
	p, q := b.pages[one.page], b.pages[other.page]
	return p.Block == q.Block && p.Index+1 == q.Index
}

// readRun reads pages that lie behind one another.
func (t *table) readRun(b *batch, run []unread) error {
	buffers := make([][]byte, len(run))
	for i, u := range run {
		buffers[i] = b.contents[u.content].content[:]
	}
	offset := int64(b.pages[run[0].page].Index) * stream.PageSize
	for len(buffers) > 0 {
		n, err := unix.Preadv(int(t.memory.file.Fd()), buffers, offset)
		if err == nil && (n == 0 || n%stream.PageSize != 0) {
			err = fmt.Errorf("%d bytes of %d pages came", n, len(buffers))
		}
		if err != nil {
			return fmt.Errorf("read the guest's memory at 0x%x: %w", offset, err)
		}
		buffers, offset = buffers[n/stream.PageSize:], offset+int64(n)
	}
	return nil
}

// readBytes of contents that were not kept.
func (t *table) readBytes() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read
}
