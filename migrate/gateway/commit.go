package gateway

import (
	"context"
	"fmt"
	"time"

	"bumpless/migrate/link"
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
	announce := map[string]any{"initial": 50, "max": 550, "rounds": 5, "step": 50}
	if err := d.qemu.Execute(ctx, "announce-self", announce, nil); err != nil {
		d.report(Event{Phase: Running, AtMs: ms(time.Since(d.began)), Result: &Result{Outcome: Moved, Reason: "announce the guest: " + err.Error()}})
	}
	return nil
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
