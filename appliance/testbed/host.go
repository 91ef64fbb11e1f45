package testbed

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
)

// Host is one machine of the bed. Its Dir survives a power cut (it is the
// disk), its RunDir does not.
type Host struct {
	Name   string
	Number int
	Dir    string

	bed     *Bed
	mu      sync.Mutex
	cmd     *exec.Cmd
	control net.Conn
	pending map[int]chan answer
	next    int
	gone    chan struct{} // closed when the host is off
}

// RunDir is the same path on every host, and another tmpfs on each. DiskDir is
// where every host sees its own Dir, so that one site file fits all.
const (
	RunDir  = "/run"
	DiskDir = "/run/disk"
)

// request to a host's supervisor, and its answer, as lines of JSON.
type request struct {
	ID   int      `json:"id"`
	Op   string   `json:"op"` // exec: run to the end; start: start the daemon; kill: SIGKILL it
	Args []string `json:"args,omitempty"`
	Log  string   `json:"log,omitempty"`
}

type answer struct {
	ID     int    `json:"id"`
	PID    int    `json:"pid,omitempty"`
	Output []byte `json:"output,omitempty"`
	Error  string `json:"error,omitempty"`
}

// PowerOn boots the host: namespaces, links, an empty run directory.
func (h *Host) PowerOn() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd != nil {
		return fmt.Errorf("power on %s: it is on", h.Name)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return fmt.Errorf("power on %s: %w", h.Name, err)
	}
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe", "host", h.Name, h.Dir)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleHost)
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: fabricFlags, Pdeathsig: syscall.SIGKILL}
	if err := startOwn(cmd); err != nil {
		ours.Close()
		return fmt.Errorf("power on %s: %w", h.Name, err)
	}
	h.cmd, h.control, h.pending, h.gone = cmd, ours, map[int]chan answer{}, make(chan struct{})
	go h.listen(ours, h.gone)
	return nil
}

func (h *Host) listen(c net.Conn, gone chan struct{}) {
	lines := bufio.NewScanner(c)
	lines.Buffer(make([]byte, 0, 64<<10), 16<<20)
	for lines.Scan() {
		var a answer
		if json.Unmarshal(lines.Bytes(), &a) != nil {
			continue
		}
		h.mu.Lock()
		ch := h.pending[a.ID]
		delete(h.pending, a.ID)
		h.mu.Unlock()
		if ch != nil {
			ch <- a
		}
	}
	close(gone)
}

// PowerCut ends every process of the host at once, and takes its links down.
func (h *Host) PowerCut() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil {
		return nil
	}
	err := h.cmd.Process.Kill()
	_ = waitOwn(h.cmd) // killed: the status says only that
	h.control.Close()
	h.cmd = nil
	if err != nil {
		return fmt.Errorf("cut the power of %s: %w", h.Name, err)
	}
	return nil
}

// On tells whether the host has power.
func (h *Host) On() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cmd != nil
}

func (h *Host) pid() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil {
		return 0
	}
	return h.cmd.Process.Pid
}

func (h *Host) ask(ctx context.Context, r request) (answer, error) {
	h.mu.Lock()
	if h.cmd == nil {
		h.mu.Unlock()
		return answer{}, fmt.Errorf("%s is off", h.Name)
	}
	h.next++
	r.ID = h.next
	ch, gone := make(chan answer, 1), h.gone
	h.pending[r.ID] = ch
	b, err := json.Marshal(r)
	if err == nil {
		_, err = h.control.Write(append(b, '\n'))
	}
	h.mu.Unlock()
	if err != nil {
		return answer{}, fmt.Errorf("ask %s: %w", h.Name, err)
	}
	select {
	case a := <-ch:
		if a.Error != "" {
			return a, errors.New(a.Error)
		}
		return a, nil
	case <-gone:
		return answer{}, fmt.Errorf("%s went off", h.Name)
	case <-ctx.Done():
		return answer{}, fmt.Errorf("ask %s: %w", h.Name, ctx.Err())
	}
}

// Exec runs a command on the host and returns what it wrote; the error holds
// that too.
func (h *Host) Exec(ctx context.Context, args ...string) ([]byte, error) {
	a, err := h.ask(ctx, request{Op: "exec", Args: args})
	if err != nil {
		return a.Output, fmt.Errorf("%s: %v: %w: %s", h.Name, args, err, a.Output)
	}
	return a.Output, nil
}

// StartDaemon starts the host's main program; its output is appended to a file
// in Dir.
func (h *Host) StartDaemon(ctx context.Context, args ...string) (pid int, err error) {
	a, err := h.ask(ctx, request{Op: "start", Args: args, Log: filepath.Join(h.Dir, "daemon.log")})
	if err != nil {
		return 0, fmt.Errorf("%s: start %v: %w", h.Name, args, err)
	}
	return a.PID, nil
}

// KillDaemon kills the main program and returns when it is gone; what it
// started lives on.
func (h *Host) KillDaemon(ctx context.Context) error {
	_, err := h.ask(ctx, request{Op: "kill"})
	return err
}

// superviseHost is process 1 of a host.
func superviseHost() {
	name, disk := os.Args[2], os.Args[3]
	control := os.NewFile(3, "control")
	syscall.CloseOnExec(3)
	if err := bootHost(name, disk); err != nil {
		fmt.Fprintf(os.Stderr, "test bed, %s: %v\n", name, err)
		os.Exit(1)
	}
	os.Unsetenv(roleVariable)
	go reapStrangers()
	s := supervisor{out: json.NewEncoder(control)}
	lines := bufio.NewScanner(control)
	lines.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			continue
		}
		go s.serve(r)
	}
}

func bootHost(name, disk string) error {
	if err := settle(name); err != nil {
		return err
	}
	return mountDirs(disk)
}

type supervisor struct {
	mu     sync.Mutex
	out    *json.Encoder
	daemon *exec.Cmd
	ended  chan struct{}
}

func (s *supervisor) serve(r request) {
	a := answer{ID: r.ID}
	var err error
	switch r.Op {
	case "exec":
		a.Output, err = runOwn(exec.Command(r.Args[0], r.Args[1:]...))
	case "start":
		a.PID, err = s.start(r)
	case "kill":
		s.kill()
	}
	if err != nil {
		a.Error = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.out.Encode(a) // the bed is gone, and so will be this host
}

func runOwn(cmd *exec.Cmd) ([]byte, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	err = startOwn(cmd)
	in.Close()
	if err != nil {
		return nil, err
	}
	b, _ := io.ReadAll(io.LimitReader(out, 8<<20))
	return b, waitOwn(cmd)
}

func (s *supervisor) start(r request) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log, err := os.OpenFile(r.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(r.Args[0], r.Args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := startOwn(cmd); err != nil {
		return 0, err
	}
	ended := make(chan struct{})
	s.daemon, s.ended = cmd, ended
	go func() {
		err := waitOwn(cmd)
		if f, oerr := os.OpenFile(r.Log, os.O_WRONLY|os.O_APPEND, 0); oerr == nil {
			fmt.Fprintf(f, "supervisor: the daemon ended: %v\n", err)
			f.Close()
		}
		close(ended)
	}()
	return cmd.Process.Pid, nil
}

func (s *supervisor) kill() {
	s.mu.Lock()
	cmd, ended := s.daemon, s.ended
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // it may have ended
	<-ended
}
