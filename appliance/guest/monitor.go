package guest

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"bumpless/migrate/qmp"
)

// State of a copy's virtual machine, as QEMU tells it.
type State string

// States that matter here; QEMU has more (qapi/run-state.json).
const (
	Running  State = "running"
	Paused   State = "paused"
	Incoming State = "incoming" // waits for a move, or received one and has not run
	Unclear  State = "unclear"  // the process lives and its monitor does not answer
)

// monitorWait bounds one look: a monitor is silent while QEMU completes a
// migration.
const monitorWait = time.Second

// Look asks the copy's monitor for its state.
func (r *Runner) Look(ctx context.Context, c Copy) State {
	ctx, cancel := context.WithTimeout(ctx, monitorWait)
	defer cancel()
	status, err := r.status(ctx, c)
	switch {
	case err != nil:
		return Unclear
	case status == "running":
		if c.Incoming && r.MarkRan(c.Guest, c.Epoch) != nil {
			return Unclear
		}
		return Running
	case c.Incoming:
		return Incoming
	}
	return Paused
}

func (r *Runner) status(ctx context.Context, c Copy) (string, error) {
	q, err := qmp.Dial(ctx, filepath.Join(c.Dir, daemonSocket))
	if err != nil {
		return "", err
	}
	defer q.Close()
	var answer struct {
		Status string `json:"status"`
	}
	err = q.Execute(ctx, "query-status", nil, &answer)
	return answer.Status, err
}

// Continue lets a paused copy run on. A migration that was left unfinished is
// cancelled first; QEMU refuses `cont` until that is done.
func (r *Runner) Continue(ctx context.Context, guest string, epoch uint64) error {
	q, err := qmp.Dial(ctx, filepath.Join(r.dir(guest, epoch), daemonSocket))
	if err != nil {
		return fmt.Errorf("continue guest %s: %w", guest, err)
	}
	defer q.Close()
	for {
		if err = q.Execute(ctx, "migrate_cancel", nil, nil); err == nil {
			if err = q.Execute(ctx, "cont", nil, nil); err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("continue guest %s: %w", guest, err)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Console returns what the guest's serial console said last, at most 64 KiB.
func (r *Runner) Console(ctx context.Context, guest string, epoch uint64) (string, error) {
	q, err := qmp.Dial(ctx, filepath.Join(r.dir(guest, epoch), daemonSocket))
	if err != nil {
		return "", fmt.Errorf("read console of guest %s: %w", guest, err)
	}
	defer q.Close()
	var text string
	err = q.Execute(ctx, "ringbuf-read", map[string]any{"device": "console", "size": 65536}, &text)
	return text, err
}
