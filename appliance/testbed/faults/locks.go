package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// QEMU locks single bytes of an image for what it does with it, and for what it
// does not share (block/file-posix.c, RAW_LOCK_PERM_BASE and
// RAW_LOCK_SHARED_BASE; BLK_PERM_WRITE is bit 1).
const (
	lockWrites  = 100 + 1 // "I write"
	lockNoWrite = 200 + 1 // "nobody else may write"
)

// lockers are the processes that hold any lock on the file, in order. Locks on
// open file descriptions belong to no process in /proc/locks; fdinfo names them
// (proc_pid_fdinfo(5)).
func lockers(path string) ([]int, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("look who locks the disk: %w", err)
	}
	inode := info.Sys().(*syscall.Stat_t).Ino
	files, err := filepath.Glob("/proc/[0-9]*/fdinfo/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("look who locks the disk: %w", err)
	}
	var pids []int
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
				continue // it has just ended, or closed it
			}
			return nil, fmt.Errorf("look who locks the disk: %w", err)
		}
		pid, err := strconv.Atoi(strings.Split(f, "/")[2])
		if err == nil && locks(string(text), inode) && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// locks tells whether a descriptor's fdinfo has a lock on the inode.
//
//	lock:	1: OFDLCK  ADVISORY  READ -1 08:01:1234 201 201
func locks(fdinfo string, inode uint64) bool {
	for line := range strings.Lines(fdinfo) {
		rest, found := strings.CutPrefix(line, "lock:")
		f := strings.Fields(rest)
		if !found || len(f) < 8 {
			continue
		}
		at := f[5] // MAJOR:MINOR:INODE
		if at[strings.LastIndexByte(at, ':')+1:] == strconv.FormatUint(inode, 10) {
			return true
		}
	}
	return false
}

// takeLock takes the image as a program would that writes to it, and shares it
// with nobody else who does. Closing the file lets go.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("take the disk's lock: %w", err)
	}
	for _, at := range []int64{lockWrites, lockNoWrite} {
		lock := unix.Flock_t{Type: unix.F_RDLCK, Whence: 0, Start: at, Len: 1}
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
			f.Close()
			return nil, fmt.Errorf("take the disk's lock: %w", err)
		}
	}
	return f, nil
}
