package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bumpless/appliance/node"
	"bumpless/watchdog/dev"
)

// asProgram in the environment makes the test binary the program itself.
const asProgram = "BUMPLESS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// loopback is an address of 127/8 that belongs to this process alone: two runs
// at the same time do not collide.
func loopback() string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 64+pid>>16&63, pid>>8&255, pid&255)
}

func program(args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe", args...)
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

// A gateway writes progress to its daemon. When the daemon dies after COMMIT,
// the gateway must go on to its own end.
func TestAGatewayOutlivesWhoReadsIt(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	c := program("gateway", "source")
	c.Stdin, c.Stdout = strings.NewReader("{}\n"), w
	err = c.Run()
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Exited() || status.ExitStatus() != 1 {
		t.Errorf("gateway = %v; want it to end by itself with exit status 1", err)
	}
}

// At a host's shutdown every process gets SIGTERM at once. A gateway has a guest
// in its hands and ends when its daemon tells it to.
func TestAGatewayIsNotEndedBySIGTERM(t *testing.T) {
	c := program("gateway", "source")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	// More than a pipe holds: when it is written the gateway is reading.
	if _, err := in.Write(bytes.Repeat([]byte(" "), 256<<10)); err != nil {
		t.Fatal(err)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	in.Close()
	err = c.Wait()
	if status := c.ProcessState.Sys().(syscall.WaitStatus); !status.Exited() {
		t.Errorf("gateway after SIGTERM = %v; want it to go on until its input ends", err)
	}
}

func TestTheProgramIsWired(t *testing.T) {
	var errs bytes.Buffer
	c := program("check", "--site", "config/example.yaml")
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil || !strings.Contains(string(out), "waiting period 10.01s = lease 3s") {
		t.Errorf("check = %v %s %s; want the waiting period of the example", err, out, &errs)
	}
}

// The holder keeps the watchdog's device for the host's life, whatever ends the
// host's services. A regular file is no watchdog: it is opened and refused.
func TestTheHolderIsWiredAndIsNotEndedBySIGTERM(t *testing.T) {
	dir, err := os.MkdirTemp("", "bl")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	device := dir + "/device"
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var holder *exec.Cmd
	h := dev.Holder{Socket: dir + "/s", Device: device, Timeout: time.Second, Start: func() error {
		holder = program(node.HolderVerb, dir+"/s", device)
		return holder.Start()
	}}
	const want = "is it a watchdog?"
	if _, err := h.Open(0, true); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open() of a regular file = %v; want an error with %q", err, want)
	}
	if holder == nil {
		t.Fatal("no holder was started")
	}
	if err := holder.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	h.Start = func() error { return errors.New("the first holder is gone") }
	if _, err := h.Open(0, true); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Open() after SIGTERM = %v; want the same holder's answer", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = holder.Wait() // killed
}

// newSite writes a site of one witness, with its certificates.
func newSite(t *testing.T, more string) (dir string) {
	dir, err := os.MkdirTemp("", "bl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address := loopback()
	site := "version: 1\nsite: t\nstate_dir: " + dir + "/s\nrun_dir: " + dir + "/r\npki_dir: " + dir + "/p\nhosts:\n  - {name: h, role: witness, lan_a: " + address + more + "}\n"
	if err := os.WriteFile(dir+"/site.yaml", []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"pki", "init", dir + "/p", "t"}, {"pki", "host", dir + "/p", "h", address}} {
		if out, err := program(args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
	}
	return dir
}

func TestADaemonWhoseWatchdogCannotBeUsedDoesNotStart(t *testing.T) {
	dir := newSite(t, ", watchdog: {kind: device, path: /nonexistent/watchdog}")
	out, err := program("run", "--site", dir+"/site.yaml", "--host", "h", "--log-level", "error").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is its driver loaded?") {
		t.Errorf("run = %v %s; want it refused for its watchdog", err, out)
	}
	endHolder(t, dir+"/r/watchdog.sock")
}

// endHolder ends the holder that a daemon has left, as it should.
func endHolder(t *testing.T, socket string) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		t.Fatal("no holder is left: ", err)
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			t.Error(err)
		} else if err := syscall.Kill(int(peer.Pid), syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// SIGTERM ends the daemon in order: its guests are not its own.
func TestSIGTERMEndsTheDaemonWithStatus0(t *testing.T) {
	dir := newSite(t, "")
	var err error
	var log bytes.Buffer
	daemon := program("run", "--site", dir+"/site.yaml", "--host", "h", "--log-level", "error")
	daemon.Stderr = &log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		out, err = program("status", "--json", "--site", dir+"/site.yaml").CombinedOutput()
		if err == nil && strings.Contains(string(out), `"leader":"h"`) {
			break
		}
	}
	if !strings.Contains(string(out), `"leader":"h"`) {
		t.Errorf("status = %v %s; want that h leads", err, out)
	}
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(10*time.Second, func() { _ = daemon.Process.Kill() }) // it ended in time
	defer kill.Stop()
	if err := daemon.Wait(); err != nil {
		t.Errorf("run after SIGTERM = %v; want exit status 0; log: %s", err, &log)
	}
}
