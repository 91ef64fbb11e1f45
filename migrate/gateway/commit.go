package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/qmp"
)

// commit waits for COMMIT, and only then lets the guest run.
func (d *destination) commit(ctx context.Context) error {
	if err := d.awaitCommit(ctx); err != nil {
		return err
	}
	d.phase(Committed)
	d.pause(ctx, Committed)
	// The source will not run again: from here on only this host's daemon may
	// end it, so the context of the move does not count any more.
	ctx, cancel := context.WithTimeout(context.Background(), runningWait)
	defer cancel()
	if err := d.qemu.Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	if err := d.running(ctx); err != nil {
		return err
	}
	d.phase(Running)
	d.pause(ctx, Running)
	// RUNNING may not arrive; the guest runs all the same.
	_ = d.send(link.Frame{Type: link.Running}, runningWait)
	if err := announce(ctx, d.qemu); err != nil {
		d.report(Event{Phase: Running, AtMs: ms(time.Since(d.began)), Result: &Result{Outcome: Moved, Reason: "announce the guest: " + err.Error()}})
	}
	return nil
}

// announce lets the switches know where the guest is now.
func announce(ctx context.Context, q *qmp.Client) error {
	return q.Execute(ctx, "announce-self", map[string]any{"initial": 50, "max": 550, "rounds": 5, "step": 50}, nil)
}

// RunLoaded lets a guest run that was loaded and waits for COMMIT, in place of a
// destination's gateway whose process is gone. The caller knows that the source
// has committed, and that nothing which was decided without this copy can happen
// before it is dead. A guest that runs already is none the worse for it. An error
// means that the guest does not run, as far as QEMU said.
func RunLoaded(ctx context.Context, socket string) error {
	q, err := qmp.Dial(ctx, socket)
	if err != nil {
		return err
	}
	defer q.Close()
	status, err := statusOf(ctx, q, "query-status")
	if err != nil || status == "running" {
		return err
	}
	loaded, err := statusOf(ctx, q, "query-migrate")
	if err != nil {
		return err
	}
	// A guest that is still being loaded would run as soon as it is: QEMU
	// remembers a `cont` that comes in the state inmigrate (qmp_cont).
	if status != "paused" || loaded != "completed" {
		return fmt.Errorf("the guest is %q, its migration %q: want paused, and completed", status, loaded)
	}
	if err := q.Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	if status, err = statusOf(ctx, q, "query-status"); err != nil || status != "running" {
		return errors.Join(err, fmt.Errorf("the guest is %q after it was continued", status))
	}
	_ = announce(ctx, q) // it runs; its own first frames say the same
	return nil
}

func statusOf(ctx context.Context, q *qmp.Client, command string) (string, error) {
	var answer struct {
		Status string `json:"status"`
	}
	err := q.Execute(ctx, command, nil, &answer)
	return answer.Status, err
}

// awaitCommit waits for COMMIT while QEMU lives: a source that has not committed
// yet can still roll back, and should not wait for its deadline to do so.
func (d *destination) awaitCommit(ctx context.Context) error {
	for {
		select {
		case f := <-d.control:
			return d.check(f, link.Commit)
		case _, open := <-d.qemu.Events:
			if !open {
				return errGone
			}
		case err := <-d.failed:
			select {
			case f := <-d.control: // it came before the connection broke
				return d.check(f, link.Commit)
			default:
			}
			return err
		case <-ctx.Done():
			return late("waiting for COMMIT", ctx)
		}
	}
}

// running waits for the event RESUME: the reply to `cont` can lag it by 5 ms.
func (d *destination) running(ctx context.Context) error {
	for {
		select {
		case e, open := <-d.qemu.Events:
			if !open {
				return errGone
			}
			if e.Name == "RESUME" {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("wait for the guest to run: %w", ctx.Err())
		}
	}
}
