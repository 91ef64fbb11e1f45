package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// The userland is Debian's programs (mkguest), read-only, as the first virtio
// disk. What is written goes to memory: that is what a load is there to dirty.
const (
	userlandDevice = "/dev/vda"
	userlandDir    = "/userland"
	// loadUser is the user "load" of the userland: postgres refuses to be root.
	loadUser = 1000
	// loadNice: what the protection does, its verification among it, comes first.
	loadNice = 10
)

func mountUserland() error {
	if err := os.MkdirAll(userlandDir, 0o755); err != nil {
		return err
	}
	for _, m := range []struct {
		what, at, kind string
		flags          uintptr
		data           string
	}{
		{userlandDevice, "", "ext4", unix.MS_RDONLY, ""},
		{"proc", "proc", "proc", 0, ""},
		{"devtmpfs", "dev", "devtmpfs", 0, ""},
		{"tmpfs", "tmp", "tmpfs", 0, "mode=1777"},
		{"tmpfs", "run", "tmpfs", 0, "mode=1777"},
		{"tmpfs", "dev/shm", "tmpfs", 0, "mode=1777"},
	} {
		at := filepath.Join(userlandDir, m.at)
		if m.at == "dev/shm" {
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount(m.what, at, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s of the userland: %w", or(m.at, "the disk"), err)
		}
	}
	return nil
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// inUserland is a command of the userland, as its user.
func inUserland(words ...string) *exec.Cmd {
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = "/tmp"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/tmp", "LC_ALL=C", "TMPDIR=/tmp"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: userlandDir, Credential: &syscall.Credential{Uid: loadUser, Gid: loadUser}}
	return cmd
}
