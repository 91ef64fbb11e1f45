package main

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/link"

	"golang.org/x/sys/unix"
)

// work is what every move has to do with a content that compresses it, encrypts it and
// proves that it arrived: it is compressed (libzstd 1, in batches as a gateway's), sealed,
// carried over a TCP connection, opened, decompressed, copied, and at each end hashed (the
// digest's GMAC). It is done here, over loopback, with nothing beside it, and the two
// threads' CPU time counted. A gateway cannot take less: it also takes pages from QEMU,
// and decides.
type work struct {
	compressor *link.Compressor
	hash       cipher.AEAD
	out        *link.Writer
	conn       link.Conn
	body       []byte

	pages    int
	source   time.Duration // CPU time
	received chan arrived
}

// arrived is what the other end took, and of how many pages.
type arrived struct {
	cpu   time.Duration
	pages int
	err   error
}

// workBytes that are compressed and carried together, as in a gateway's bulk.
const workBytes = 2 * batchBytes

// newWork connects the two ends; their certificates are of two hosts.
func newWork(source, destination link.Files, sourceName, destinationName string) (*work, error) {
	from, err := source.Load()
	if err != nil {
		return nil, err
	}
	to, err := destination.Load()
	if err != nil {
		return nil, err
	}
	w := &work{received: make(chan arrived, 1)}
	if w.compressor, err = link.NewCompressor(); err != nil {
		return nil, err
	}
	if w.hash, err = newHash(); err != nil {
		return nil, err
	}
	there, here, err := loopback()
	if err != nil {
		return nil, fmt.Errorf("measure a move's work: %w", err)
	}
	server, err := link.Server(there, to, sourceName, &link.Meter{})
	if err != nil {
		return nil, err
	}
	go func() { w.received <- receive(server) }()
	if w.conn, err = link.Client(here, from, destinationName, &link.Meter{}); err != nil {
		return nil, err
	}
	if err := w.conn.Handshake(); err != nil {
		w.conn.Cut()
		return nil, err
	}
	w.out = link.NewWriter(&w.conn)
	return w, nil
}

func newHash() (cipher.AEAD, error) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// loopback is a connection's two ends.
func loopback() (there, here *net.TCPConn, err error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if here, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		return nil, nil, err
	}
	if there, err = l.AcceptTCP(); err != nil {
		here.Close()
	}
	return there, here, err
}

// carry a batch of contents. The caller's thread must be its own (runtime.LockOSThread).
func (w *work) carry(contents []byte) error {
	begun := threadCPU()
	var pages []link.Page
	for at := 0; at < len(contents); at += protection.PageSize {
		p := contents[at : at+protection.PageSize]
		tag(w.hash, p)
		pages = append(pages, link.Page{Kind: link.Whole, Data: p})
	}
	w.body = link.AppendPages(w.body[:0], pages)
	body, codec := w.compressor.Compress(w.body, link.Usual)
	err := w.out.Write(link.Frame{Type: link.Pages, Codec: codec, Count: uint16(len(pages)), Body: body})
	w.source += threadCPU() - begun
	w.pages += len(pages)
	return err
}

// end returns the CPU time of both ends.
func (w *work) end() (time.Duration, error) {
	err := w.conn.Close()
	r := <-w.received
	if r.err == nil && r.pages != w.pages {
		r.err = fmt.Errorf("%d pages arrived, of %d", r.pages, w.pages)
	}
	if err = errors.Join(err, r.err); err != nil {
		return 0, fmt.Errorf("measure a move's work: %w", err)
	}
	return w.source + r.cpu, nil
}

// receive until the connection ends.
func receive(c link.Conn) (a arrived) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer c.Close()
	hash, err := newHash()
	if err != nil {
		return arrived{err: err}
	}
	decompressor, err := link.NewDecompressor()
	if err != nil {
		return arrived{err: err}
	}
	begun := threadCPU()
	r := link.NewReader(bufio.NewReaderSize(&c, 256<<10))
	var pages []link.Page
	memory := make([]byte, protection.PageSize)
	for {
		f, err := r.Read()
		if errors.Is(err, io.EOF) {
			a.cpu = threadCPU() - begun
			return a
		}
		if err != nil {
			return arrived{err: err}
		}
		body, err := decompressor.Open(f)
		if err == nil {
			pages, err = link.ReadPages(body, int(f.Count), pages)
		}
		if err != nil {
			return arrived{err: err}
		}
		for _, p := range pages {
			tag(hash, p.Data)
			copy(memory, p.Data)
		}
		a.pages += len(pages)
	}
}

func tag(hash cipher.AEAD, page []byte) {
	var nonce [12]byte
	var sum [16]byte
	hash.Seal(sum[:0], nonce[:], nil, page)
}

// threadCPU is what the calling thread has used.
func threadCPU() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_THREAD, &u) // it knows the constant
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
