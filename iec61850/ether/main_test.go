package ether

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// insideVariable is set for the copy of this program that runs in a network
// namespace of its own, where it may open raw sockets and make interfaces.
const insideVariable = "BUMPLESS_ETHER_TEST_INSIDE"

// noNamespace is the exit status of a copy that cannot work in its namespace.
const noNamespace = 97

func TestMain(m *testing.M) {
	if os.Getenv(insideVariable) == "" {
		os.Exit(runInside())
	}
	if err := ip("link", "set", "lo", "up"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(noNamespace)
	}
	os.Exit(m.Run())
}

// runInside uses a user namespace where the kernel allows one; otherwise it
// needs root.
func runInside() int {
	status := noNamespace
	for _, user := range []bool{true, false} {
		cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
		cmd.Args[0] = os.Args[0]
		cmd.Env = append(os.Environ(), insideVariable+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		if user {
			cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		err := cmd.Run()
		if cmd.ProcessState != nil {
			status = cmd.ProcessState.ExitCode()
		} else {
			fmt.Fprintln(os.Stderr, "enter a network namespace:", err)
		}
		if status != noNamespace {
			break
		}
	}
	if status == noNamespace {
		fmt.Fprintln(os.Stderr, "raw sockets are tested in a network namespace: this kernel gives none without root")
	}
	return status
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %v: %w: %s (package iproute2: run `make deps`)", args, err, out)
	}
	return nil
}

var pairs atomic.Int32

// wire makes two interfaces that are joined by a cable.
func wire(t *testing.T) (left, right string) {
	t.Helper()
	n := pairs.Add(1)
	left, right = fmt.Sprintf("left%d", n), fmt.Sprintf("right%d", n)
	if err := ip("link", "add", left, "type", "veth", "peer", "name", right); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ip("link", "del", left); err != nil {
			t.Error(err)
		}
	})
	bringUp(t, left, right)
	return left, right
}

// bringUp waits for the carriers too: until then frames are dropped.
func bringUp(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := ip("link", "set", name, "up"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range names {
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			ifc, err := net.InterfaceByName(name)
			if err != nil {
				t.Fatal(err)
			}
			if ifc.Flags&net.FlagRunning != 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s has no carrier", name)
			}
		}
	}
}
