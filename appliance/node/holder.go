package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"bumpless/appliance/config"
	"bumpless/watchdog/dev"
)

// HolderVerb of the program, followed by a socket and a device: the process
// that keeps the watchdog's device open (dev.Hold).
const HolderVerb = "watchdog-holder"

// watchdogOpener returns what opens this host's watchdog; nil when it has none.
func (n *Node) watchdogOpener() opener {
	w, timeout := n.self.Watchdog, n.timing.WatchdogTimeout
	switch w.Kind {
	case config.WatchdogDevice:
		h := dev.Holder{Socket: filepath.Join(n.site.RunDir, "watchdog.sock"), Device: w.Path, Timeout: timeout}
		h.Start = func() error { return startHolder(n.binary, h.Socket, h.Device) }
		return func(notAfter time.Duration, idle bool) (dev.Device, error) {
			d, err := h.Open(notAfter, idle)
			if err != nil {
				return nil, err
			}
			return d, nil
		}
	case config.WatchdogPowerStrip:
		return func(time.Duration, bool) (dev.Device, error) {
			d, err := dev.OpenPowerStrip(w.Path, timeout)
			if err != nil {
				return nil, err
			}
			return d, nil
		}
	}
	return nil
}

// startHolder starts the holder in a session of its own: it outlives the
// daemon. What it says goes beside its socket.
func startHolder(binary, socket, device string) error {
	log, err := os.OpenFile(socket+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(binary, HolderVerb, socket, device)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // only so that it leaves no zombie; the socket tells how it is
	return nil
}

// armIdle opens the watchdog at start-up when no guest runs here, so that a
// daemon whose watchdog cannot be used fails before it takes any. With guests
// of a former daemon it is left alone: opening pets, and only the right to run
// them allows that.
func (n *Node) armIdle() error {
	copies, err := n.hypervisor.Find()
	if err != nil || len(copies) > 0 {
		return err
	}
	return n.watchdog.openIdle()
}
