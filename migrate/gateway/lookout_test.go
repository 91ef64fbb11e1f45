package gateway

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"bumpless/migrate/stream"
)

// A lookout that waits, as for local disks that are mirrored, must not take what was
// written long ago for a hot spot, nor miss what is written seldom.
func TestALookoutKnowsWhatWasWrittenBetweenOneAndTwoLooksAgo(t *testing.T) {
	const pages, every = 4 * hotspotStride, 200 * time.Millisecond
	file := sharedMemory(t, pages*stream.PageSize)
	write := func(page int) {
		_, err := file.WriteAt(bytes.Repeat([]byte{9}, stream.PageSize), int64(page)*stream.PageSize)
		must(t, err)
	}
	l, err := startLookout(os.Getpid(), every)
	must(t, err)
	defer l.memory.close()
	time.Sleep(every / 4)
	write(0)
	time.Sleep(3 * every) // it has looked at least twice since
	write(2 * hotspotStride)
	spots, err := l.end()
	must(t, err)
	around := func(page int) bool {
		var c content
		must(t, l.memory.read(uint64(page)*stream.PageSize, c[:]))
		return spots.around(uint64(page), c[:])
	}
	if around(0) {
		t.Error("what was written long ago counts as being written")
	}
	if !around(2 * hotspotStride) {
		t.Error("what was written just now does not count as being written")
	}
}

func TestAnExpectedLookoutIsTakenOfItsOwnGuestOnly(t *testing.T) {
	sharedMemory(t, stream.PageSize)
	expected := func(pid int) *lookout {
		l, err := startLookout(os.Getpid(), time.Second)
		must(t, err)
		l.pid = pid
		return l
	}
	for name, c := range map[string]struct {
		pid  int
		same bool
	}{"its guest's": {os.Getpid(), true}, "another one's": {os.Getpid() + 1, false}} {
		was := expected(c.pid)
		l, err := lookoutAt(os.Getpid(), was)
		must(t, err)
		if (l == was) != c.same {
			t.Errorf("%s: the expected lookout is taken: %v", name, !c.same)
		}
		l.discard()
		if err := was.memory.file.Close(); err == nil {
			t.Errorf("%s: the expected lookout's memory file stays open", name)
		}
	}
}

// A daemon starts its gateway before the destination listens.
func TestAnExpectedMoveBeginsWithItsConfiguration(t *testing.T) {
	sharedMemory(t, stream.PageSize)
	in, daemon := io.Pipe()
	done := make(chan int)
	var out bytes.Buffer
	go func() { done <- Main("source", in, &out) }()
	_, err := io.WriteString(daemon, fmt.Sprintf("{\"expected_pid\":%d}\n", os.Getpid()))
	must(t, err)
	_, err = io.WriteString(daemon, `{"policy":"bumpless","budget_ms":300,"qmp":"/nonexistent"}`+"\n")
	must(t, err)
	if status := <-done; status != 1 || !bytes.Contains(out.Bytes(), []byte("connect to QEMU's monitor")) {
		t.Errorf("Main() = %d, %s; want the configuration to be read, and refused", status, out.String())
	}
}
