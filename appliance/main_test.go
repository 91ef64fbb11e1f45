package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
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

// SIGTERM ends the daemon in order: its guests are not its own.
func TestSIGTERMEndsTheDaemonWithStatus0(t *testing.T) {
	dir, err := os.MkdirTemp("", "bl")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	address := loopback()
	site := "version: 1\nsite: t\nstate_dir: " + dir + "/s\nrun_dir: " + dir + "/r\npki_dir: " + dir + "/p\nhosts:\n  - {name: h, role: witness, lan_a: " + address + "}\n"
	if err := os.WriteFile(dir+"/site.yaml", []byte(site), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"pki", "init", dir + "/p", "t"}, {"pki", "host", dir + "/p", "h", address}} {
		if out, err := program(args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v %s", args, err, out)
		}
	}
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
