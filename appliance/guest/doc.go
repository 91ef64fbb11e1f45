// Package guest runs QEMU guests as processes that outlive the daemon.
//
// Every copy of a guest has a directory, RunDir/g/GUEST.EPOCH:
//
//	qmp.sock    the daemon's monitor
//	move.sock   the monitor set aside for a migration gateway
//	qemu.log    what QEMU said
//	incoming    exists while the copy has never run
//	nbd.sock    its local disks, while a move mirrors them
//
// A copy is found again by looking at processes, never by what the daemon
// remembers: QEMU's command line names the directory. The directory does not
// outlive the host, and neither does the process.
//
// A copy's tap is made by the daemon and belongs to the QEMU process alone: it
// vanishes with it, however it ends.
package guest

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Spec is what a guest is made of.
type Spec struct {
	Name      string
	MemoryMiB int
	VCPUs     int
	Machine   string // a versioned machine type: both ends of a move must have it
	CPU       string // QEMU's CPU model
	Accel     string // kvm or tcg
	Kernel    string // path
	Initrd    string // path
	Cmdline   string
	MAC       string
	Bridge    string // the station bus; "" for no network
	CPUs      []int  // host CPUs that the guest may use; none: all
	Disks     []Disk // /dev/vda, /dev/vdb, … in this order
	// DeltaCacheMiB is what each gateway of a move may keep of the guest's memory,
	// so that a page which is sent again goes as what has changed of it.
	DeltaCacheMiB int
}

// Runner keeps the copies of one host.
type Runner struct {
	RunDir string
	Binary string // QEMU
	Specs  map[string]Spec

	mu       sync.Mutex
	versions map[string]running // by guest
}

func (r *Runner) root() string { return filepath.Join(r.RunDir, "g") }

func (r *Runner) dir(guest string, epoch uint64) string {
	return filepath.Join(r.root(), fmt.Sprintf("%s.%d", guest, epoch))
}

// MoveSocket is the monitor of a copy that a gateway may use.
func (r *Runner) MoveSocket(guest string, epoch uint64) string {
	return filepath.Join(r.dir(guest, epoch), moveSocket)
}

const (
	daemonSocket = "qmp.sock"
	moveSocket   = "move.sock"
	incomingFlag = "incoming"
	logFile      = "qemu.log"
)

// parseDir undoes dir.
func parseDir(base string) (guest string, epoch uint64, ok bool) {
	i := strings.LastIndexByte(base, '.')
	if i < 1 {
		return "", 0, false
	}
	epoch, err := strconv.ParseUint(base[i+1:], 10, 64)
	return base[:i], epoch, err == nil
}
