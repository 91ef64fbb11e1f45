package guest

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Abilities of a host, for admission of a move: what differs is refused before
// anything is sent.
type Abilities struct {
	// QEMUVersion of the binary, which the next guest is started with.
	QEMUVersion string   `json:"qemu_version"`
	Machines    []string `json:"machines"`
	// Runs is, by guest, the version of the QEMU that it runs under, which an update
	// of the package leaves as it is; "" where QEMU did not answer. nil from a daemon
	// of an earlier release.
	Runs map[string]string `json:"runs"`
	// FreeMiB of the host's memory, as the kernel estimates it. PromisedMiB of that
	// belong to copies that have not touched all of theirs.
	FreeMiB     int `json:"free_mib"`
	PromisedMiB int `json:"promised_mib,omitempty"`
}

var versionLine = regexp.MustCompile(`QEMU emulator version (\d+\.\d+\.\d+)`)

// oldest major version that does not corrupt busy guests under TCG.
const oldestMajor = 10

// Probe asks the QEMU binary and the kernel.
func (r *Runner) Probe(ctx context.Context) (Abilities, error) {
	out, err := exec.CommandContext(ctx, r.Binary, "--version").Output()
	if err != nil {
		return Abilities{}, fmt.Errorf("ask QEMU (%s) for its version: %w", r.Binary, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return Abilities{}, fmt.Errorf("ask QEMU (%s) for its version: no version in %.80q", r.Binary, out)
	}
	a := Abilities{QEMUVersion: string(m[1])}
	if major, _ := strconv.Atoi(strings.SplitN(a.QEMUVersion, ".", 2)[0]); major < oldestMajor {
		return a, fmt.Errorf("QEMU %s is too old: it corrupts busy guests when they move; install QEMU %d", a.QEMUVersion, oldestMajor)
	}
	if out, err = exec.CommandContext(ctx, r.Binary, "-M", "help").Output(); err != nil {
		return a, fmt.Errorf("ask QEMU (%s) for its machine types: %w", r.Binary, err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) > 1 && !strings.HasSuffix(line, ":") {
			a.Machines = append(a.Machines, f[0])
		}
	}
	if a.FreeMiB, err = freeMiB(); err != nil {
		return a, err
	}
	if a.PromisedMiB, err = r.promisedMiB(); err != nil {
		return a, err
	}
	a.Runs, err = r.runningVersions(ctx)
	return a, err
}

// overheadMiB that QEMU needs beside the guest's RAM.
const overheadMiB = 64

// Lets says why the guest cannot leave this host, or nil. What was promised does
// not count: to leave makes room.
func (a Abilities) Lets(s Spec) error {
	if need := s.DeltaCacheMiB; a.FreeMiB < need {
		return fmt.Errorf("the gateway that moves guest %s away needs %d MiB, %d MiB are free: stop or move a smaller guest first", s.Name, need, a.FreeMiB)
	}
	return nil
}

// Admit says why a guest that runs under QEMU sourceVersion cannot come here, or nil.
func (a Abilities) Admit(s Spec, sourceVersion string) error {
	switch {
	case sourceVersion != "" && sourceVersion != a.QEMUVersion:
		return fmt.Errorf("guest %s runs under QEMU %s, here is %s: update the older host first, or start the guest anew where its host was updated under it", s.Name, sourceVersion, a.QEMUVersion)
	case !slices.Contains(a.Machines, s.Machine):
		return fmt.Errorf("QEMU %s here has no machine type %s, which guest %s needs", a.QEMUVersion, s.Machine, s.Name)
	case a.FreeMiB-a.PromisedMiB < s.MemoryMiB+overheadMiB+s.DeltaCacheMiB:
		return fmt.Errorf("guest %s needs %d MiB, its move's gateway included; %d MiB are free here, of which the guests that are here may still take %d MiB: stop or move another guest",
			s.Name, s.MemoryMiB+overheadMiB+s.DeltaCacheMiB, a.FreeMiB, a.PromisedMiB)
	}
	return nil
}
