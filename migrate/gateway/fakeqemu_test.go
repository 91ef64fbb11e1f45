package gateway

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"bumpless/migrate/stream"

	"golang.org/x/sys/unix"
)

// fakeQEMU does what QEMU 10 was seen to do in a move, with a guest of a few
// pages: no emulation, so that a test of the protocol takes milliseconds.
type fakeQEMU struct {
	t    testing.TB
	Path string

	listener net.Listener
	// big is QEMU's lock: it writes the last section under it, and commands
	// wait for it.
	big sync.Mutex

	mu     sync.Mutex
	memory map[uint64]uint32 // what fills each page, by offset; 0 is not in it
	dirty  map[uint64]bool
	status string // of the guest
	// configured: its own switchover was put out of reach for the next migration.
	configured bool
	migration  string
	stops      int
	pipe       *os.File
	clients    map[net.Conn]bool
	hot        uint64 // pages that are dirtied before every section
	failLoad   bool
	garbled    bool          // the last section is long and not understood
	refuseGo   int           // times that `cont` is refused
	stopTakes  time.Duration // until `stop` is answered
	// stopLate: the migration thread sees that the guest is stopped before `stop`
	// is answered, and writes the last section under the lock that the answer needs.
	stopLate  bool
	lastSent  chan struct{} // closed behind the last section
	slow      time.Duration // that it takes to read a page, if it is not zero
	shared    *os.File      // the memory, that of an incoming guest
	noMemory  bool          // for all of it
	populated bool          // all of it is there
	clock     bool          // page 1 bears the time in ms at which it was found dirty

	// In place of the guest of a few pages: what writes and reads the streams.
	write, read func(q *fakeQEMU, pipe *os.File)
	// What takes the memory: page by page, as QEMU does.
	take func(memory *os.File) error
}

const (
	fakePages   = 512
	fakeSection = 2
)

func newFake(t testing.TB, status string) *fakeQEMU {
	t.Helper()
	dir, err := os.MkdirTemp("", "fake") // short: a socket's path has 108 bytes
	must(t, err)
	q := &fakeQEMU{t: t, Path: dir + "/qmp", memory: map[uint64]uint32{}, dirty: map[uint64]bool{}, status: status, clients: map[net.Conn]bool{},
		lastSent: make(chan struct{}),
		write:    (*fakeQEMU).send, read: (*fakeQEMU).load, take: takeMemory}
	for i := range uint64(fakePages) {
		if q.dirty[i*stream.PageSize] = true; i%3 != 0 {
			q.memory[i*stream.PageSize] = uint32(i) + 1
		}
	}
	l, err := net.Listen("unix", q.Path)
	must(t, err)
	q.listener = l
	t.Cleanup(func() {
		q.die()
		os.RemoveAll(dir)
	})
	return q
}

// run begins to answer: what is set in the fake must be set before.
func (q *fakeQEMU) run() {
	go func() {
		for {
			c, err := q.listener.Accept()
			if err != nil {
				return
			}
			go q.serve(c.(*net.UnixConn))
		}
	}()
}

// die ends the process: its connections, and its end of the pipe.
func (q *fakeQEMU) die() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.status = "dead"
	q.listener.Close()
	for c := range q.clients {
		c.Close()
	}
	if q.pipe != nil {
		q.pipe.Close()
	}
}

func (q *fakeQEMU) is() (status string, stops int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.status, q.stops
}

func (q *fakeQEMU) serve(c *net.UnixConn) {
	defer c.Close()
	q.mu.Lock()
	q.clients[c] = true
	q.mu.Unlock()
	fmt.Fprintln(c, `{"QMP": {"version": {}, "capabilities": []}}`)
	buffer, rights := make([]byte, 64<<10), make([]byte, 128)
	for {
		n, r, _, _, err := c.ReadMsgUnix(buffer, rights)
		if err != nil || n == 0 {
			return
		}
		var command struct{ Execute string }
		if err := json.Unmarshal(buffer[:n], &command); err != nil {
			return
		}
		var got *os.File
		if messages, err := unix.ParseSocketControlMessage(rights[:r]); err == nil && len(messages) == 1 {
			if fds, err := unix.ParseUnixRights(&messages[0]); err == nil {
				got = os.NewFile(uintptr(fds[0]), "pipe")
			}
		}
		if answer, err := q.carryOut(command.Execute, got); err != nil {
			fmt.Fprintf(c, `{"error": {"class": "GenericError", "desc": %q}}`+"\n", err)
		} else {
			fmt.Fprintf(c, `{"return": %s}`+"\n", answer)
		}
	}
}

func (q *fakeQEMU) carryOut(command string, got *os.File) (answer string, err error) {
	if command == "stop" && q.stopTakes > 0 {
		time.Sleep(q.stopTakes)
	}
	if command == "stop" && q.stopLate {
		q.mu.Lock()
		q.status = "paused"
		q.mu.Unlock()
		<-q.lastSent
	}
	if command == "migrate_cancel" || command == "cont" {
		q.big.Lock()
		defer q.big.Unlock()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	answer = "{}"
	switch command {
	case "getfd":
		q.pipe = got
	case "query-status":
		answer = fmt.Sprintf(`{"status": %q}`, q.status)
	case "query-migrate":
		answer = fmt.Sprintf(`{"status": %q}`, q.migration)
	case "query-memdev":
		answer = "[]"
		if q.shared != nil {
			answer = `[{"id": "pc.ram", "share": true, "prealloc": false}]`
		}
	case "qom-set":
		if q.populated = !q.noMemory; q.noMemory {
			return "", fmt.Errorf("qemu_prealloc_mem: preallocating memory failed: Cannot allocate memory")
		}
		return answer, q.take(q.shared)
	case "migrate-set-parameters":
		q.configured = true
	case "migrate":
		if !q.configured {
			return "", errors.New("with its own downtime-limit QEMU stops the guest when it likes")
		}
		q.migration, q.configured = "active", false
		for offset := range uint64(fakePages) {
			q.dirty[offset*stream.PageSize] = true
		}
		go q.write(q, q.pipe)
	case "migrate-incoming":
		go q.read(q, q.pipe)
	case "migrate_cancel":
		if q.migration == "active" {
			q.migration = "cancelled"
			q.pipe.Close()
		}
	case "stop":
		q.status, q.stops = "paused", q.stops+1
	case "cont":
		if q.refuseGo--; q.refuseGo >= 0 || q.migration == "active" {
			return "", fmt.Errorf("Migration is not finalized yet")
		}
		q.status = "running"
		q.tell(`{"event": "RESUME"}`)
	}
	return answer, nil
}

// tell sends an event; mu is held.
func (q *fakeQEMU) tell(event string) {
	for c := range q.clients {
		fmt.Fprintln(c, event) // a client may have gone
	}
}

func (q *fakeQEMU) ended(status string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.migration == "active" || q.migration == "" {
		q.migration = status
		q.tell(fmt.Sprintf(`{"event": "MIGRATION", "data": {"status": %q}}`, status))
	}
}

// send is the source's migration thread.
func (q *fakeQEMU) send(pipe *os.File) {
	out := bufio.NewWriterSize(pipe, 32<<10)
	u32 := func(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }
	u64 := func(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }
	end := u32(append(u64(nil, 0x10), 0x7e), fakeSection)
	b := u32(append(u32(u32(nil, 0x5145564d), 3), 7), 4)
	b = append(append(b, "fake"...), 8, 0, 1, 0, 0)
	b = append(u32(append(b, 1), fakeSection), "\x03ram\x00\x00\x00\x00\x00\x00\x00\x04"...)
	b = u64(append(u64(b, fakePages*stream.PageSize|4), "\x06pc.ram"...), fakePages*stream.PageSize)
	_, err := out.Write(append(b, end...))
	for last := false; err == nil && !last; {
		var pages map[uint64]uint32
		pages, last = q.collect()
		b := u32([]byte{map[bool]byte{false: 2, true: 3}[last]}, fakeSection)
		for offset := range uint64(fakePages) {
			fill, sent := pages[offset*stream.PageSize]
			switch {
			case !sent:
			case fill == 0:
				b = append(append(u64(b, offset*stream.PageSize|2), "\x06pc.ram"...), 0)
			default:
				b = append(append(u64(b, offset*stream.PageSize|8), "\x06pc.ram"...), pageOf(fill)...)
			}
		}
		if last {
			if q.garbled {
				b = append(u64(b[:5], 0xfff), make([]byte, 2<<20)...)
			}
			q.big.Lock()
		}
		if _, err = out.Write(append(b, end...)); err == nil {
			err = out.Flush()
		}
		if last {
			q.big.Unlock()
			close(q.lastSent)
		}
	}
	if err == nil {
		_, err = pipe.Write([]byte("device state\x00\x06\x00\x00\x00\x02{}"))
	}
	for err == nil {
		var m stream.ReturnMessage
		if m, err = stream.ReadReturn(pipe); err == nil && m.Type == stream.ReturnShut {
			q.ended("completed")
			return
		}
	}
	q.ended("failed")
}

// collect takes what is dirty; last when the guest does not run any more.
func (q *fakeQEMU) collect() (pages map[uint64]uint32, last bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.status == "running" {
		for range q.hot {
			offset := rand.Uint64N(q.hot) * stream.PageSize
			q.memory[offset]++
			q.dirty[offset] = true
		}
	}
	if q.clock {
		q.memory[stream.PageSize], q.dirty[stream.PageSize] = uint32(time.Since(epoch).Milliseconds())+1, true
	}
	pages = map[uint64]uint32{}
	for offset := range q.dirty {
		pages[offset] = q.memory[offset]
	}
	clear(q.dirty)
	return pages, q.status != "running"
}

// epoch of the clock.
var epoch = time.Now()

func pageOf(fill uint32) []byte {
	b := make([]byte, stream.PageSize)
	for at := 0; at < len(b); at += 8 {
		binary.BigEndian.PutUint32(b[at:], fill)
	}
	return b
}

// loaded: the guest could run.
func (q *fakeQEMU) loaded() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.status == "inmigrate" {
		q.status = "paused"
	}
}

// readShared adds what was written to the memory file.
func (q *fakeQEMU) readShared() {
	if q.shared == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for offset, page := range readMemory(q.t, q.shared) {
		if page != "" {
			q.memory[offset] = binary.BigEndian.Uint32([]byte(page))
		}
	}
}

// load is the destination's incoming migration.
func (q *fakeQEMU) load(pipe *os.File) {
	q.mu.Lock()
	q.memory = map[uint64]uint32{}
	q.mu.Unlock()
	r := stream.NewReader(pipe, 4096)
	for {
		record, err := r.Next()
		if err == nil && record.Kind == stream.Page {
			if !record.Zero {
				time.Sleep(q.slow)
			}
			q.mu.Lock()
			delete(q.memory, record.Offset)
			if !record.Zero {
				q.memory[record.Offset] = binary.BigEndian.Uint32(record.Data)
			}
			q.mu.Unlock()
		}
		if err == nil && record.Last {
			if _, err = r.Tail(); err == nil && !q.failLoad {
				q.readShared()
				q.loaded()
				q.ended("completed")
				_ = stream.WriteReturn(pipe, stream.ReturnMessage{Type: stream.ReturnShut, Data: make([]byte, 4)}) // nobody may listen
				_, _ = io.Copy(io.Discard, pipe)
				return
			}
			err = fmt.Errorf("not loaded: %w", err)
		}
		if err != nil {
			q.ended("failed")
			return
		}
	}
}
