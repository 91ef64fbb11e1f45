package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/stream"
)

var errOver = errors.New("the move is over")

// received is what the destination knows of one page.
type received struct {
	version uint32
	newest  tag
}

// receive takes the frames of one connection.
func (d *destination) receive(r *link.Reader, number int) {
	d.failed <- fmt.Errorf("connection %d: %w", number, d.receiveAll(r, number))
}

// receiveAll ends with the connection, or with the first frame that is wrong.
func (d *destination) receiveAll(r *link.Reader, number int) error {
	decompressor, err := link.NewDecompressor()
	if err != nil {
		return err
	}
	var pages []link.Page
	kept := d.newKeeper(d.slots)
	answering := make(chan struct{}, 1) // a PING of this connection
	for {
		f, err := r.Read()
		if err != nil {
			return brokenLink{err}
		}
		switch f.Type {
		case link.Pages:
			select {
			case <-d.started: // the blocks come over connection 0
			case <-d.gone:
				return errOver
			}
			var body []byte
			if body, err = decompressor.Open(f); err != nil {
				return err
			}
			if pages, err = link.ReadPages(body, int(f.Count), pages); err != nil {
				return err
			}
			if err = kept.restore(pages); err != nil {
				return err
			}
			err = d.apply(kept, pages)
		case link.Barrier:
			err = d.barrier()
		case link.Ping:
			err = d.pong(f, answering)
		case link.Config, link.Command, link.RAMStart:
			err = d.passOn(f)
		case link.Tail, link.Digest, link.Commit, link.Abort:
			if number != 0 {
				return fmt.Errorf("a %s frame outside connection 0", f.Type)
			}
			var body []byte
			if body, err = decompressor.Open(f); err != nil {
				return err
			}
			f.Body = append([]byte(nil), body...)
			select {
			case d.control <- f:
			default:
				return fmt.Errorf("a %s frame: more frames than the protocol has", f.Type)
			}
		default:
			return fmt.Errorf("an unexpected %s frame", f.Type)
		}
		if err != nil {
			return err
		}
	}
}

func (d *destination) passOn(f link.Frame) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.Type != link.RAMStart {
		if err := d.out.Raw(f.Body); err != nil {
			return err
		}
		return d.out.Flush()
	}
	if d.blocks != nil {
		return errors.New("a second RAM-START frame")
	}
	blocks, err := d.out.Start(f.Body)
	if err != nil {
		return err
	}
	total := 0
	for _, b := range blocks {
		d.first = append(d.first, total)
		total += int(b.Pages())
	}
	if uint64(total)*stream.PageSize > d.cfg.RAMBytes {
		return fmt.Errorf("the source announces %d MiB of RAM, this guest has %d MiB", total*stream.PageSize>>20, d.cfg.RAMBytes>>20)
	}
	if err := d.ram.find(blocks); err != nil {
		return err
	}
	d.blocks, d.pages = blocks, make([]received, total)
	close(d.started)
	return nil
}

// apply writes the pages that are newer than what came before, and puts what the
// connection keeps of them into its slots.
func (d *destination) apply(k *keeper, pages []link.Page) error {
	tags := make([]tag, len(pages))
	for i, p := range pages { // outside the lock: this is the work
		tags[i] = d.hasher.page(int(p.Block), uint64(p.Index), p.Data)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, p := range pages {
		if int(p.Block) >= len(d.blocks) || uint64(p.Index)+uint64(p.More) >= d.blocks[p.Block].Pages() {
			return fmt.Errorf("page %d of block %d and %d more are outside the guest's RAM", p.Index, p.Block, p.More)
		}
		for index := range uint64(p.More) + 1 {
			newer, err := d.page(k, p, uint64(p.Index)+index, tags[i])
			if err != nil {
				return err
			}
			if p.Kind.Slotted() {
				k.put(p, newer && d.ram.has(int(p.Block)))
			}
		}
	}
	return d.ram.flush() // the pages' memory is used again
}

// page writes one page, if it is newer; mu is held.
func (d *destination) page(k *keeper, p link.Page, index uint64, t tag) (newer bool, err error) {
	was := &d.pages[d.first[p.Block]+int(index)]
	if p.Version <= was.version {
		return false, nil
	}
	if d.ram.has(int(p.Block)) {
		err = d.writeRAM(k, p, index, was.newest != tag{})
	} else if err = d.out.Page(int(p.Block), index*stream.PageSize, p.Data); err != nil {
		err = fmt.Errorf("hand a page to QEMU: %w", err)
	}
	if err != nil {
		return false, err
	}
	d.sum.replace(was.newest, t)
	was.version, was.newest = p.Version, t
	return true, nil
}

// writeRAM writes a page past QEMU; held: what is there now is not zero, and slots
// may be lent to it.
func (d *destination) writeRAM(k *keeper, p link.Page, index uint64, held bool) error {
	if held {
		slotted := k
		if !p.Kind.Slotted() {
			slotted = nil
		}
		if err := d.preserve(index, slotted, p.Slot); err != nil {
			return err
		}
	}
	return d.ram.page(index*stream.PageSize, p.Data, held)
}

// pong answers a PING when QEMU has taken all before it. One is answered at a time:
// a peer that sends more waits, and costs no memory.
func (d *destination) pong(f link.Frame, answering chan struct{}) error {
	if len(f.Body) != 8 {
		return fmt.Errorf("a PING frame of %d bytes, want 8", len(f.Body))
	}
	select {
	case answering <- struct{}{}:
	case <-d.gone:
		return errOver
	}
	d.mu.Lock()
	err := d.out.Flush()
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("hand pages to QEMU: %w", err)
	}
	if untaken(d.pipe) == 0 {
		defer func() { <-answering }()
		return d.send(link.Frame{Type: link.Pong, Body: f.Body}, writeWait)
	}
	f.Body = bytes.Clone(f.Body)
	go func() {
		defer func() { <-answering }()
		d.pongLater(f)
	}()
	return nil
}

// untakenPoll is how often a QEMU is looked at that is behind.
const untakenPoll = time.Millisecond

// pongLater answers when QEMU has taken what is in the pipe: the connection is read
// on meanwhile.
func (d *destination) pongLater(f link.Frame) {
	ticker := time.NewTicker(untakenPoll)
	defer ticker.Stop()
	for untaken(d.pipe) > 0 {
		select {
		case <-ticker.C:
		case <-d.gone:
			return
		}
	}
	_ = d.send(link.Frame{Type: link.Pong, Body: f.Body}, writeWait) // a link that broke its receiver tells
}

// barrier counts the connections on which everything has arrived.
func (d *destination) barrier() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.barriers++
	switch {
	case d.barriers == len(d.seats):
		close(d.all)
	case d.barriers > len(d.seats):
		return errors.New("a second BARRIER frame")
	}
	return nil
}

// written bytes of guest RAM, past QEMU.
func (d *destination) written() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ram == nil {
		return 0
	}
	return d.ram.bytes
}
