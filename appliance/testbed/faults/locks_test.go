package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestALockIsFoundByItsInode(t *testing.T) {
	const held = "pos:\t0\nflags:\t02140002\nmnt_id:\t29\nino:\t77\nlock:\t1: OFDLCK  ADVISORY  READ -1 00:1f:77 201 201\n"
	for _, c := range []struct {
		fdinfo string
		inode  uint64
		want   bool
	}{
		{held, 77, true},
		{held, 7, false},
		{"pos:\t0\nino:\t77\n", 77, false},
		{"lock:\t1: OFDLCK\n", 77, false},
	} {
		if got := locks(c.fdinfo, c.inode); got != c.want {
			t.Errorf("locks(%q, %d) = %v; want %v", c.fdinfo, c.inode, got, c.want)
		}
	}
}

func TestWhoLocksADiskIsSeenUntilItLetsGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image")
	must(t, os.WriteFile(path, make([]byte, 4096), 0o600))
	for _, step := range []struct {
		lock bool
		want []int
	}{{false, nil}, {true, []int{os.Getpid()}}, {false, nil}} {
		var held *os.File
		if step.lock {
			var err error
			held, err = takeLock(path)
			must(t, err)
		}
		pids, err := lockers(path)
		if err != nil || !slices.Equal(pids, step.want) {
			t.Errorf("locked %v: lockers() = %v, %v; want %v", step.lock, pids, err, step.want)
		}
		if held != nil {
			held.Close()
		}
	}
}
