package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bumpless/migrate/qmp"

	"golang.org/x/sys/unix"
)

// Start creates a copy and returns when its monitor answers; an error means
// that no process is left. An incoming copy waits, stopped, for a move.
func (r *Runner) Start(ctx context.Context, guest string, epoch uint64, incoming bool) error {
	spec, ok := r.Specs[guest]
	if !ok {
		return fmt.Errorf("start guest %s: it is not in this host's site file", guest)
	}
	dir := r.dir(guest, epoch)
	cmd, err := r.launch(spec, dir, incoming)
	if err != nil {
		_ = os.RemoveAll(dir) // nothing was started
		return fmt.Errorf("start guest %s: %w", guest, err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	if err := r.answers(ctx, dir, gone); err != nil {
		_ = cmd.Process.Kill()
		if !errors.Is(err, errGone) {
			<-gone
		}
		return fmt.Errorf("start guest %s: %w%s", guest, err, said(dir))
	}
	return nil
}

var errGone = errors.New("QEMU ended")

// answers waits until QEMU's monitor does.
func (r *Runner) answers(ctx context.Context, dir string, gone <-chan error) error {
	for {
		q, err := qmp.Dial(ctx, filepath.Join(dir, daemonSocket))
		if err == nil {
			return q.Close()
		}
		select {
		case err := <-gone:
			return fmt.Errorf("%w: %w", errGone, err)
		case <-ctx.Done():
			return fmt.Errorf("its monitor does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// said is the end of QEMU's log, for an error.
func said(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, logFile))
	text := strings.TrimSpace(string(b))
	if err != nil || text == "" {
		return ""
	}
	return ": " + text[max(0, len(text)-500):]
}

// launch starts the process, in a session of its own so that it outlives the
// daemon.
func (r *Runner) launch(s Spec, dir string, incoming bool) (*exec.Cmd, error) {
	if err := os.MkdirAll(r.root(), 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("this epoch was used already: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	if incoming {
		if err := os.WriteFile(filepath.Join(dir, incomingFlag), nil, 0o600); err != nil {
			return nil, err
		}
	}
	if incoming {
		if err := r.makeImages(s); err != nil {
			return nil, err
		}
	}
	words, err := arguments(s, dir, incoming)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(r.Binary, words...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.Bridge != "" {
		tap, err := openTap(tapName(filepath.Base(dir)), s.Bridge)
		if err != nil {
			return nil, err
		}
		defer tap.Close()
		cmd.ExtraFiles = []*os.File{tap} // descriptor 3
	}
	return cmd, startOn(cmd, s.CPUs)
}

// startOn starts the command on the given CPUs: a process inherits the affinity
// of the thread that makes it, and its own threads do from it.
func startOn(cmd *exec.Cmd, cpus []int) error {
	if len(cpus) == 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	var before, wanted unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("read CPU affinity: %w", err)
	}
	for _, c := range cpus {
		wanted.Set(c)
	}
	if err := unix.SchedSetaffinity(0, &wanted); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("pin to CPUs %v: %w", cpus, err)
	}
	err := cmd.Start()
	if unix.SchedSetaffinity(0, &before) == nil {
		runtime.UnlockOSThread() // otherwise the thread ends with this goroutine
	}
	return err
}

// memory of the guest: a file that QEMU shares, so that an incoming guest's pages
// can be written past QEMU (package gateway, "Guest RAM at the destination"). It
// bears the name that the machine gives its RAM by itself, and which the stream
// bears: so a guest moves from and to a QEMU whose memory is not shared. Of a
// machine whose name for it is not known, it is not.
//
// All of it is taken at the start, so that neither the guest nor a move waits for a
// page later: of 160 MiB in 16 ms, of 1 GiB in 90 ms. That of an incoming guest its
// gateway lets QEMU take, which empties it before.
func memory(s Spec, incoming bool) []string {
	a := []string{"-m", strconv.Itoa(s.MemoryMiB)}
	if !strings.HasPrefix(s.Machine, "pc") && !strings.HasPrefix(s.Machine, "q35") {
		return a
	}
	backend := fmt.Sprintf("memory-backend-memfd,id=pc.ram,size=%dM,share=on", s.MemoryMiB)
	if !incoming {
		backend += ",prealloc=on"
	}
	return append(a, "-object", backend, "-machine", "memory-backend=pc.ram")
}

func arguments(s Spec, dir string, incoming bool) ([]string, error) {
	socket := func(id, name string) string {
		return fmt.Sprintf("socket,id=%s,path=%s,server=on,wait=off", id, filepath.Join(dir, name))
	}
	a := []string{
		// Threads bear names, so that `top -H` tells a guest's vCPUs from the rest.
		"-name", "guest=" + s.Name + ",debug-threads=on", "-nodefaults", "-no-user-config", "-display", "none", "-msg", "timestamp=on",
		"-M", s.Machine, "-accel", s.Accel, "-cpu", s.CPU, "-smp", strconv.Itoa(s.VCPUs),
		"-chardev", socket("qmp", daemonSocket), "-mon", "chardev=qmp,mode=control",
		"-chardev", socket("move", moveSocket), "-mon", "chardev=move,mode=control",
		// A ring: a guest that talks for years must not fill the host.
		"-chardev", "ringbuf,id=console,size=65536", "-serial", "chardev:console",
		"-device", "virtio-rng-pci",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	}
	a = append(a, memory(s, incoming)...)
	if s.Kernel != "" {
		a = append(a, "-kernel", s.Kernel, "-initrd", s.Initrd, "-append", s.Cmdline)
	}
	if s.Bridge != "" {
		a = append(a, "-netdev", "tap,id=n0,fd=3", "-device", "virtio-net-pci,netdev=n0,romfile=,mac="+s.MAC)
	}
	for i, d := range s.Disks { // last: what a guest without disks has stays where it is on the bus
		words, err := diskArguments(i, d)
		if err != nil {
			return nil, err
		}
		a = append(a, words...)
	}
	if incoming {
		a = append(a, "-S", "-incoming", "defer")
	}
	return a, nil
}
