package testbed

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// own are the processes that exec.Cmd waits for: process 1 must not reap them
// under its nose.
var own = struct {
	sync.Mutex // held while a process is born, so that none dies unnoted
	pids       map[int]bool
}{pids: map[int]bool{}}

// startOwn starts a command that will be waited for.
func startOwn(cmd *exec.Cmd) error {
	own.Lock()
	defer own.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	own.pids[cmd.Process.Pid] = true
	return nil
}

func waitOwn(cmd *exec.Cmd) error {
	err := cmd.Wait()
	own.Lock()
	delete(own.pids, cmd.Process.Pid)
	own.Unlock()
	return err
}

// reapStrangers is the duty of process 1: processes whose parent died come to
// it, and stay as zombies until it waits for them.
func reapStrangers() {
	ended := make(chan os.Signal, 16)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		own.Lock()
		for _, pid := range zombies() {
			if !own.pids[pid] {
				_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // somebody else's after all
			}
		}
		own.Unlock()
	}
}

// zombies are the dead children of this process that were not born by it.
func zombies() []int {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var pids []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		// pid (comm) state ppid …; comm may hold anything (proc_pid_stat(5)).
		rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
		f := strings.Fields(rest)
		if len(f) < 3 || f[0] != "Z" || f[1] != "1" {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
