package guest

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"bumpless/migrate/qmp"
)

// Version of the QEMU that a guest of this host runs under. A daemon of an earlier
// release says that of its binary only.
func (a Abilities) Version(guest string) (string, error) {
	if a.Runs == nil {
		return a.QEMUVersion, nil
	}
	if v := a.Runs[guest]; v != "" {
		return v, nil
	}
	return "", fmt.Errorf("QEMU of guest %s does not say its version: is the guest there, and does its monitor answer? see `bumpless guests`", guest)
}

// running is the version of a process. It never changes, so that a monitor which is
// busy later on need not be asked again.
type running struct {
	epoch   uint64
	pid     int
	version string
}

func (k running) is(c Copy) bool { return k.pid == c.PID && k.epoch == c.Epoch }

// runningVersions asks the QEMU of every guest here, of several copies the newest.
func (r *Runner) runningVersions(ctx context.Context) (map[string]string, error) {
	copies, err := r.Find()
	if err != nil {
		return nil, err
	}
	newest := map[string]Copy{}
	for _, c := range copies {
		if c.Epoch >= newest[c.Guest].Epoch {
			newest[c.Guest] = c
		}
	}
	var wait sync.WaitGroup
	for _, c := range newest {
		wait.Add(1)
		go func() { defer wait.Done(); r.learnVersion(ctx, c) }()
	}
	wait.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	versions := map[string]string{}
	for guest, c := range newest {
		versions[guest] = ""
		if k := r.versions[guest]; k.is(c) {
			versions[guest] = k.version
		}
	}
	return versions, nil
}

// learnVersion of a copy, unless it is known or the copy does not answer.
func (r *Runner) learnVersion(ctx context.Context, c Copy) {
	r.mu.Lock()
	known := r.versions[c.Guest].is(c)
	r.mu.Unlock()
	if known {
		return
	}
	v, err := r.version(ctx, c)
	if err != nil {
		return // asked again the next time
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.versions == nil {
		r.versions = map[string]running{}
	}
	r.versions[c.Guest] = running{c.Epoch, c.PID, v}
}

// version as the copy's own process says: the file may be another one by now.
func (r *Runner) version(ctx context.Context, c Copy) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, monitorWait)
	defer cancel()
	q, err := qmp.Dial(ctx, filepath.Join(c.Dir, daemonSocket))
	if err != nil {
		return "", err
	}
	defer q.Close()
	var answer struct {
		QEMU struct{ Major, Minor, Micro int } `json:"qemu"`
	}
	if err := q.Execute(ctx, "query-version", nil, &answer); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d.%d.%d", answer.QEMU.Major, answer.QEMU.Minor, answer.QEMU.Micro), nil
}
