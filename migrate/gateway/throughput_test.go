package gateway

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"bumpless/migrate/stream"

	"golang.org/x/sys/unix"
)

// guestRAM makes memory as a fresh Debian guest was seen to have it: nonZero of
// its pages hold something; of those 22 % do not compress, and the others are
// code and data: this program's own.
func guestRAM(tb testing.TB, pages int, nonZero float64) [][]byte {
	tb.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	must(tb, err)
	random := rand.New(rand.NewPCG(1, 2))
	noise := rand.NewChaCha8([32]byte{1})
	ram := make([][]byte, pages)
	for run := 0; run < pages; run += 16 { // what is used comes in runs
		if random.Float64() >= nonZero {
			continue
		}
		at := random.IntN(len(program)/stream.PageSize-16) * stream.PageSize
		for i := range min(16, pages-run) {
			p := make([]byte, stream.PageSize)
			if copy(p, program[at+i*stream.PageSize:]); random.Float64() < 0.22 {
				_, _ = noise.Read(p) // never fails
			}
			ram[run+i] = p
		}
	}
	return ram
}

// largeGuest writes its memory once, as fast as it is read and the way QEMU
// does, by gathering writes of pages where they lie; then it waits to be
// stopped. What it takes itself is counted apart.
type largeGuest struct {
	ram       [][]byte
	began     time.Time
	took      atomic.Int64 // ns, until the last page had come out at the other end
	cpu       atomic.Int64 // ns of both fakes
	tail      []byte
	pagesSeen atomic.Int64
	shared    *os.File // memory of the destination; nil: pages come through its stream
}

// watch waits until the last page with something in it is in the memory file: those
// before it are there too, but for a batch of the other connection.
func (g *largeGuest) watch() {
	last := len(g.ram) - 1
	for g.ram[last] == nil {
		last--
	}
	for page := make([]byte, stream.PageSize); !bytes.Equal(page, g.ram[last]); {
		time.Sleep(time.Millisecond)
		if _, err := g.shared.ReadAt(page, int64(last)*stream.PageSize); err != nil {
			return // the move's result says why
		}
	}
	g.took.Store(int64(time.Since(g.began)))
}

func (g *largeGuest) write(q *fakeQEMU, pipe *os.File) {
	defer g.clock()()
	g.began = time.Now()
	u32 := func(b []byte, n uint32) []byte { return binary.BigEndian.AppendUint32(b, n) }
	u64 := func(b []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(b, n) }
	size := uint64(len(g.ram)) * stream.PageSize
	end := u32(append(u64(nil, 0x10), 0x7e), fakeSection)
	b := u32(append(u32(u32(nil, 0x5145564d), 3), 7), 4)
	b = append(append(b, "fake"...), 8, 0, 1, 0, 0)
	b = append(u32(append(b, 1), fakeSection), "\x03ram\x00\x00\x00\x00\x00\x00\x00\x04"...)
	b = append(u64(append(u64(b, size|4), "\x06pc.ram"...), size), end...)
	b = append(u32(append(b, 2), fakeSection), binary.BigEndian.AppendUint64(nil, 0|2)...)
	b = append(b, "\x06pc.ram\x00"...) // page 0 is zero, and names the block
	fd := int(pipe.Fd())
	vectors := [][]byte{b}
	for i, p := range g.ram {
		if p == nil {
			last := len(vectors) - 1
			vectors[last] = append(u64(vectors[last], uint64(i)*stream.PageSize|0x22), 0)
		} else {
			last := len(vectors) - 1
			vectors[last] = u64(vectors[last], uint64(i)*stream.PageSize|0x28)
			vectors = append(vectors, p, nil)
		}
		if len(vectors) >= 63 || len(vectors[len(vectors)-1]) > 32<<10 {
			writeAll(fd, vectors)
			vectors = [][]byte{nil}
		}
	}
	last := len(vectors) - 1
	vectors[last] = append(vectors[last], end...)
	writeAll(fd, vectors)
	empty := append(u32([]byte{2}, fakeSection), end...)
	for q.running() { // as QEMU does: it looks again and again, and is held by the reader
		writeAll(fd, [][]byte{empty})
		time.Sleep(time.Millisecond)
	}
	q.big.Lock()
	writeAll(fd, [][]byte{append(u32([]byte{3}, fakeSection), end...), g.tail, []byte("\x00\x06\x00\x00\x00\x02{}")})
	q.big.Unlock()
	if m, err := stream.ReadReturn(pipe); err == nil && m.Type != stream.ReturnShut {
		_, _ = stream.ReadReturn(pipe) // PONG came before
	}
	q.ended("completed")
}

func (q *fakeQEMU) running() bool {
	status, _ := q.is()
	return status == "running"
}

// take the destination's memory; counted apart, since QEMU does it.
func (g *largeGuest) take(memory *os.File) error {
	defer g.clock()()
	return takeMemory(memory)
}

func writeAll(fd int, vectors [][]byte) {
	for len(vectors) > 0 {
		n, err := unix.Writev(fd, vectors)
		if err != nil {
			return // the gateway gave up: its result says why
		}
		for len(vectors) > 0 && n >= len(vectors[0]) {
			n -= len(vectors[0])
			vectors = vectors[1:]
		}
		if len(vectors) > 0 {
			vectors[0] = vectors[0][n:]
		}
	}
}

func (g *largeGuest) read(q *fakeQEMU, pipe *os.File) {
	defer g.clock()()
	if g.shared != nil {
		go g.watch()
	}
	r := stream.NewReader(pipe, 256<<10)
	for {
		record, err := r.Next()
		if err != nil {
			q.ended("failed")
			return
		}
		if record.Kind == stream.Page && g.pagesSeen.Add(1) == int64(len(g.ram)) {
			g.took.Store(int64(time.Since(g.began)))
		}
		if record.Last {
			break
		}
	}
	if _, err := r.Tail(); err != nil {
		q.ended("failed")
		return
	}
	q.ended("completed")
	_, _ = io.Copy(io.Discard, pipe)
}

// clock counts what the calling thread takes, until the function that is
// returned is called.
func (g *largeGuest) clock() func() {
	runtime.LockOSThread()
	before := cpu(unix.RUSAGE_THREAD)
	return func() {
		g.cpu.Add(int64(cpu(unix.RUSAGE_THREAD) - before))
		runtime.UnlockOSThread()
	}
}

func cpu(who int) time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(who, &u) // it knows both constants
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkGateway moves a guest of 512 MiB that writes nothing, over loopback:
// two gateways with all they do, in one process. MB/s are of guest RAM, from
// the source's stream to the destination's; CPU is of both gateways, without
// the fakes. The destination's memory is shared, as that of our guests is, but for
// "stream".
func BenchmarkGateway(b *testing.B) {
	const pages = 512 << 20 / stream.PageSize
	// The fakes sit in system calls as other processes would: they must not keep
	// a core from the gateways until the scheduler notices.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 2))
	for _, c := range []struct {
		policy  string
		nonZero float64
		how     string
	}{{"precopy", 0.21, "shared"}, {"bumpless", 0.21, "shared"}, {"precopy", 1, "shared"}, {"bumpless", 1, "shared"}, {"precopy", 1, "stream"}} {
		ram := guestRAM(b, pages, c.nonZero)
		ram[0] = nil
		b.Run(fmt.Sprintf("%s/%.0f%%used/%s", c.policy, 100*c.nonZero, c.how), func(b *testing.B) {
			var took, used time.Duration
			var wire, content int64
			for _, p := range ram {
				content += int64(len(p))
			}
			for b.Loop() {
				g := &largeGuest{ram: ram, tail: make([]byte, 170<<10)}
				if c.how == "shared" {
					g.shared = sharedMemory(b, pages*stream.PageSize)
				}
				m := newBench(b)
				m.src.write, m.dst.read, m.dst.take, m.dst.shared = g.write, g.read, g.take, g.shared
				m.lans, m.source.Policy, m.source.RAMBytes, m.destination.RAMBytes = func(a string) []string { return []string{a} }, c.policy, 1<<30, 1<<30
				before := cpu(unix.RUSAGE_SELF)
				m.begin()
				r, d := m.result(0), m.result(1)
				if r.Outcome != Moved || d.Outcome != Moved || !r.DigestEqual {
					b.Fatalf("%+v, %+v; want moved", r, d)
				}
				used += cpu(unix.RUSAGE_SELF) - before - time.Duration(g.cpu.Load())
				if g.shared != nil {
					must(b, g.shared.Close())
				}
				took += time.Duration(g.took.Load())
				wire += r.LinkBytes
			}
			gib := float64(b.N) * pages * stream.PageSize / (1 << 30)
			b.ReportMetric(gib*(1<<30)/1e6/took.Seconds(), "MB/s-RAM")
			b.ReportMetric(used.Seconds()/gib, "cpu-s/GiB")
			b.ReportMetric(float64(wire)/float64(int64(b.N)*content), "wire/content")
		})
	}
}
