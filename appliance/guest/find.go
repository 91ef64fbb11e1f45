package guest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Copy is a live process of a guest.
type Copy struct {
	Guest string
	Epoch uint64
	PID   int
	Dir   string
	// Incoming: it was created to receive a move and has not run yet.
	Incoming bool
}

// Find lists every live copy of this host, by looking at every process's
// command line.
func (r *Runner) Find() ([]Copy, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("look for guests: %w", err)
	}
	var copies []Copy
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if c, ok := r.copyOf(pid); ok {
			copies = append(copies, c)
		}
	}
	return copies, nil
}

// copyOf tells whether the process is a copy of ours. A process that ended
// (also one that was not waited for) has no command line.
func (r *Runner) copyOf(pid int) (Copy, bool) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return Copy{}, false
	}
	prefix := "socket,id=qmp,path=" + r.root() + "/"
	for _, word := range bytes.Split(line, []byte{0}) {
		rest, ours := strings.CutPrefix(string(word), prefix)
		if !ours {
			continue
		}
		base, _, _ := strings.Cut(rest, "/")
		guest, epoch, ok := parseDir(base)
		c := Copy{Guest: guest, Epoch: epoch, PID: pid, Dir: filepath.Join(r.root(), base)}
		_, err := os.Lstat(filepath.Join(c.Dir, incomingFlag))
		c.Incoming = err == nil
		return c, ok
	}
	return Copy{}, false
}

// MarkRan notes that the copy runs, or ran: from now on it is not incoming.
func (r *Runner) MarkRan(guest string, epoch uint64) error {
	err := os.Remove(filepath.Join(r.dir(guest, epoch), incomingFlag))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note that guest %s ran: %w", guest, err)
	}
	return nil
}
