package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A guest's memory is the host's only once it has been taken (start.go, memory): what
// is free now may have been promised, to one that is just starting or arriving, or to
// one of a machine whose memory is taken as it is touched. It is counted at admission.

// freeMiB of the host, as the kernel estimates it, and no more than the daemon's
// control group and those above it may still take: guests are in it, too.
func freeMiB() (int, error) {
	free, err := availableMiB()
	if err != nil {
		return 0, err
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, fmt.Errorf("read the own control group: %w", err)
	}
	limit, limited, err := groupMiB("/sys/fs/cgroup", string(own))
	if limited {
		free = min(free, limit)
	}
	return free, err
}

func availableMiB() (int, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read the free memory: %w", err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest + " x")[0])
			return kib >> 10, err
		}
	}
	return 0, fmt.Errorf("read the free memory: /proc/meminfo has no MemAvailable")
}

// groupMiB is what a process of the version 2 control group in own, the text of
// /proc/self/cgroup, may still take (memory.max less memory.current, where the
// page cache that can be dropped counts as free); not limited without a limit.
func groupMiB(root, own string) (free int, limited bool, err error) {
	path := ""
	for _, line := range strings.Split(own, "\n") {
		if rest, ok := strings.CutPrefix(line, "0::"); ok {
			path = rest
		}
	}
	for ; path != "" && path != "/" && path != "."; path = filepath.Dir(path) {
		dir := filepath.Join(root, path)
		most, err := bytesIn(filepath.Join(dir, "memory.max"), "")
		if errors.Is(err, fs.ErrNotExist) || most < 0 {
			continue
		}
		used, err2 := bytesIn(filepath.Join(dir, "memory.current"), "")
		cache, err3 := bytesIn(filepath.Join(dir, "memory.stat"), "inactive_file ")
		if err := errors.Join(err, err2, err3); err != nil {
			return 0, true, fmt.Errorf("read the memory limit of the control group: %w", err)
		}
		if left := int(max(0, most-used+cache) >> 20); !limited || left < free {
			free, limited = left, true
		}
	}
	return free, limited, nil
}

// bytesIn a file of a control group: a number, that of the line with the key, or
// -1 for "max" (kernel, Documentation/admin-guide/cgroup-v2.rst).
func bytesIn(file, key string) (int64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		text, ok := strings.CutPrefix(line, key)
		switch {
		case !ok:
		case text == "max":
			return -1, nil
		default:
			return strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %q", file, key)
}

// promisedMiB to the copies on this host, and not taken by them yet.
func (r *Runner) promisedMiB() (int, error) {
	copies, err := r.Find()
	if err != nil {
		return 0, err
	}
	promised := 0
	for _, c := range copies {
		spec, known := r.Specs[c.Guest]
		taken, err := takenMiB(c.PID)
		if err != nil {
			continue // it has ended
		}
		if known {
			promised += max(0, spec.MemoryMiB+overheadMiB-taken)
		}
	}
	return promised, nil
}

// takenMiB by a process: its own pages, and the blocks of the memory files that it
// has open. Pages there that it has not touched are not in its resident set: a
// gateway wrote them.
func takenMiB(pid int) (int, error) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	b, err := os.ReadFile(filepath.Join(proc, "statm"))
	if err != nil {
		return 0, err
	}
	var size, resident, shared int64 // proc(5), in pages
	if _, err := fmt.Sscan(string(b), &size, &resident, &shared); err != nil {
		return 0, fmt.Errorf("%s/statm: %q", proc, b) // a process that ends
	}
	taken := (resident - shared) * int64(os.Getpagesize())
	files, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		path := filepath.Join(proc, "fd", f.Name())
		var about unix.Stat_t
		if name, err := os.Readlink(path); err != nil || !strings.HasPrefix(name, "/memfd:") || unix.Stat(path, &about) != nil {
			continue // closed meanwhile, or something else
		}
		taken += about.Blocks * 512
	}
	return int(taken >> 20), nil
}
