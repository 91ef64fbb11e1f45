package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func group(t *testing.T, root, path string, files map[string]string) {
	t.Helper()
	dir := filepath.Join(root, path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheTightestControlGroupBoundsWhatIsFree(t *testing.T) {
	const mib = "048576"
	none := map[string]string{"memory.max": "max\n", "memory.current": "5\n", "memory.stat": "anon 1\ninactive_file 0\n"}
	half := map[string]string{"memory.max": "536870912\n", "memory.current": "268435456\n", "memory.stat": "anon 1\ninactive_file 1" + mib + "\nactive_file 7\n"}
	full := map[string]string{"memory.max": "1" + mib + "\n", "memory.current": "2" + mib + "\n", "memory.stat": "inactive_file 0\n"}
	for _, c := range []struct {
		name          string
		outer, inner  map[string]string
		own           string
		free          int
		limited, fail bool
	}{
		{"no control groups of version 2", nil, nil, "4:memory:/a/b\n", 0, false, false},
		{"the root", nil, nil, "0::/\n", 0, false, false},
		{"no limit", none, none, "0::/a/b\n", 0, false, false},
		{"a limit above", half, none, "0::/a/b\n", 257, true, false},
		{"a limit of its own", none, half, "1:cpu:/\n0::/a/b\n", 257, true, false},
		{"two", half, full, "0::/a/b\n", 0, true, false},
		{"no memory controller here", half, nil, "0::/a/b\n", 257, true, false},
		{"a limit that is no number", map[string]string{"memory.max": "much\n", "memory.current": "5\n", "memory.stat": "inactive_file 0\n"}, none, "0::/a/b\n", 0, true, true},
		{"no use", map[string]string{"memory.max": "5\n"}, none, "0::/a/b\n", 0, true, true},
	} {
		root := t.TempDir()
		group(t, root, "a", c.outer)
		group(t, root, "a/b", c.inner)
		free, limited, err := groupMiB(root, c.own)
		if free != c.free || limited != c.limited || (err != nil) != c.fail {
			t.Errorf("%s: groupMiB() = %d, %v, %v; want %d, %v, error: %v", c.name, free, limited, err, c.free, c.limited, c.fail)
		}
	}
}

// A copy that has not touched its memory yet is as good as one that has.
func TestMemoryThatACopyHasNotTouchedIsNotFree(t *testing.T) {
	r := &Runner{RunDir: t.TempDir(), Specs: map[string]Spec{"main1": {MemoryMiB: 1000}}}
	none, err := r.promisedMiB()
	if err != nil || none != 0 {
		t.Errorf("promisedMiB() without copies = %d, %v; want 0", none, err)
	}
	// Any process with that word on its command line is a copy (find.go).
	word := "socket,id=qmp,path=" + filepath.Join(r.dir("main1", 3), daemonSocket) + ",server=on"
	cmd := exec.Command("sh", "-c", "read x", "sh", word)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	var got int
	for end := time.Now().Add(5 * time.Second); got == 0 && time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got, err = r.promisedMiB(); err != nil {
			t.Fatal(err)
		}
	}
	if got < 1000+overheadMiB-32 || got > 1000+overheadMiB {
		t.Errorf("promisedMiB() = %d; want 1000 and the overhead, less what a shell takes", got)
	}
}

// The gateway of a move writes the guest's memory, so that QEMU has not touched it.
func TestMemoryThatSomebodyElseWroteIsTaken(t *testing.T) {
	const mib = 64
	fd, err := unix.MemfdCreate("guest", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "guest")
	defer file.Close()
	before, err := takenMiB(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write(make([]byte, mib<<20)); err != nil {
		t.Fatal(err)
	}
	after, err := takenMiB(os.Getpid())
	if grown := after - before; err != nil || grown < mib || grown > 2*mib+16 {
		t.Errorf("%d MiB were written, of a slice of that size, and takenMiB() grew by %d, %v", mib, grown, err)
	}
}
