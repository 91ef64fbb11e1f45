package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bumpless/migrate/link"
	"bumpless/migrate/qmp"
	"bumpless/migrate/stream"

	"golang.org/x/sys/unix"
)

// switchover stops the guest and commits or rolls back. Everything between STOP
// and COMMIT is bounded by one context whose end is ROLLBACK.
func (s *source) switchover(ctx context.Context, estimate time.Duration) {
	t0 := time.Now()
	deadline := t0.Add(s.stopLimit())
	stopped, cancel := context.WithDeadlineCause(ctx, deadline, limit{s.stopLimitText()})
	defer cancel()
	s.result.EstimateMs = ms(estimate)
	s.report(Event{Phase: Stopped, AtMs: ms(time.Since(s.began)), WakingMs: s.cfg.WakingMs})
	if err := s.stopAndSend(stopped, t0); err != nil {
		s.rollback(t0, err)
		return
	}
	if !time.Now().Before(deadline) {
		s.rollback(t0, errors.New("READY came after the deadline"))
		return
	}
	// What broke since READY: a COMMIT that cannot arrive would leave the guest
	// in doubt.
	if err := s.lost(); err != nil {
		s.rollback(t0, err)
		return
	}
	if err := s.mark(deadline); err != nil {
		s.rollback(t0, err)
		return
	}
	s.commit(t0)
}

// stopAndSend takes the move from STOP to READY.
func (s *source) stopAndSend(ctx context.Context, t0 time.Time) error {
	s.pace.enter(handingOver)
	// QEMU's migration thread can see that the guest is stopped before `stop` is
	// answered, and write under the lock that the answer needs: the stream must be
	// read then. Not at once, or QEMU looks for dirty pages under that lock again
	// and again while `stop` wants it.
	reading := time.AfterFunc(stopAlone, s.readOn)
	err := s.qemu.Execute(ctx, "stop", nil, nil)
	reading.Stop()
	if err != nil && ctx.Err() != nil {
		return late("QEMU was asked to stop the guest", ctx)
	}
	if err != nil {
		return err
	}
	s.result.Parts.StoppedMs = ms(time.Since(t0))
	s.pause(ctx, Stopped)
	s.readOn()
	s.table.letGo()
	if err := s.handOver(ctx); err != nil {
		return err
	}
	s.pace.enter(memoryOnly)
	if len(s.cfg.LocalDisks) > 0 {
		s.result.Parts.MirrorMs = ms(time.Since(t0))
	}
	end, err := s.streamEnd(ctx)
	if err != nil {
		return err
	}
	s.result.Parts.RAMEndMs, s.result.Parts.TailMs = ms(end.ramEnd.Sub(t0)), ms(end.tailDone.Sub(t0))
	s.phase(Draining)
	s.pause(ctx, Draining)
	if err := s.drain(ctx, end.tail); err != nil {
		return err
	}
	s.result.Parts.DrainedMs = ms(time.Since(t0))
	ready, err := s.expect(ctx, link.Ready)
	if err != nil {
		return err
	}
	s.result.Parts.ReadyMs = ms(time.Since(t0))
	s.result.DigestEqual = bytes.Equal(ready.Body, s.table.digest().bytes())
	if !s.result.DigestEqual {
		return errors.New("the digests differ: the destination's memory is not the source's")
	}
	s.phase(AtReady)
	s.pause(ctx, AtReady)
	if ctx.Err() != nil {
		return late("the destination was ready", ctx)
	}
	return nil
}

func (s *source) streamEnd(ctx context.Context) (ending, error) {
	select {
	case e := <-s.ended:
		return e, e.err
	case f := <-s.frames:
		return ending{}, unexpected(f)
	case err := <-s.broken:
		return ending{}, s.why(err)
	case err := <-s.send.failed:
		return ending{}, s.why(err)
	case <-ctx.Done():
		return ending{}, late("the guest's memory was still being read", ctx)
	}
}

// late says why ctx ended: which limit was reached, or that a daemon wants the
// guest back.
func late(what string, ctx context.Context) error {
	cause := context.Cause(ctx)
	if reached, ok := cause.(limit); ok {
		return fmt.Errorf("the deadline passed while %s: %w", what, reached)
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("the deadline passed while %s", what)
	}
	return fmt.Errorf("%w, while %s", cause, what)
}

// drain writes all that is pending, a barrier on each connection, the device
// state and the digest.
func (s *source) drain(ctx context.Context, tail []byte) error {
	done := make(chan error, 1)
	go func() {
		compressor, err := link.NewCompressor()
		if err != nil {
			done <- err
			return
		}
		body, codec := compressor.Compress(tail, link.Usual)
		if !s.table.drained() {
			done <- errors.New("the link broke while memory was being sent")
			return
		}
		if err := s.send.barrier(1); err != nil {
			done <- err
			return
		}
		if err := s.send.control(link.Frame{Type: link.Tail, Codec: codec, Body: body}); err != nil {
			done <- err
			return
		}
		done <- s.send.control(link.Frame{Type: link.Digest, Body: s.table.digest().bytes()})
	}()
	for {
		select {
		case err := <-done:
			return err
		case f := <-s.frames:
			// The answer can be here before the goroutine above has said that
			// the question was sent.
			if f.Type != link.Ready || s.early != nil {
				return unexpected(f)
			}
			s.early = &f
		case err := <-s.broken:
			return s.why(err)
		case err := <-s.send.failed:
			return s.why(err)
		case <-ctx.Done():
			return late("memory was being sent", ctx)
		}
	}
}

// expect waits for one kind of frame.
func (s *source) expect(ctx context.Context, want link.Type) (link.Frame, error) {
	if f := s.early; f != nil {
		s.early = nil
		return s.check(*f, want)
	}
	select {
	case f := <-s.frames:
		return s.check(f, want)
	case err := <-s.broken:
		// What came before the link broke still counts, and so will the break.
		select {
		case f := <-s.frames:
			s.fail(err)
			return s.check(f, want)
		default:
		}
		return link.Frame{}, err
	case <-ctx.Done():
		return link.Frame{}, late("waiting for "+want.String(), ctx)
	}
}

func (s *source) check(f link.Frame, want link.Type) (link.Frame, error) {
	if f.Type != want {
		return f, unexpected(f)
	}
	return f, nil
}

// mark makes the marker file: from here on the source never runs again by the
// gateway's doing. A file system may take its time for that: past the deadline the
// marker goes again, and COMMIT is not sent. One that cannot be taken back stands.
func (s *source) mark(deadline time.Time) error {
	path := filepath.Join(s.cfg.RunDir, CommittedMarker)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("mark the move as committed: %w", err)
	}
	if err = f.Close(); err == nil && !time.Now().Before(deadline) {
		err = errors.New("it was made after the deadline: is the file system under it slow?")
	}
	if err != nil && os.Remove(path) == nil {
		return fmt.Errorf("mark the move as committed: %s: %w", path, err)
	}
	return nil
}

// commit sends COMMIT and waits for RUNNING. There is no way back.
func (s *source) commit(t0 time.Time) {
	ctx, cancel := limited(context.Background(), runningWait, "the %s for RUNNING", runningWait)
	defer cancel()
	s.phase(Committed)
	s.pause(ctx, Committed)
	reason, err := s.heardBy(ctx, t0)
	s.result.StopMs = ms(time.Since(t0))
	if err != nil {
		s.finish(InDoubt, err)
		return
	}
	s.result.Parts.RunningMs = s.result.StopMs
	s.phase(Running)
	s.release()
	s.finish(Moved, nil)
	s.result.Reason = reason
}

// heardBy sends COMMIT and returns when the guest runs, by RUNNING or, with a
// reason, by the daemon's word.
func (s *source) heardBy(ctx context.Context, t0 time.Time) (reason string, err error) {
	sent := make(chan error, 1)
	go func() { sent <- s.send.conns[0].write(link.Frame{Type: link.Commit}, runningWait) }()
	for err == nil {
		select {
		case err = <-sent:
			if sent = nil; err != nil {
				err = fmt.Errorf("COMMIT could not be sent: %w", err)
				break
			}
			s.result.Parts.CommitMs = ms(time.Since(t0))
		case f := <-s.frames:
			if err = s.saidRunning(f); err == nil {
				return "", nil
			}
		case err = <-s.broken:
			// What came before the link broke still counts.
			select {
			case f := <-s.frames:
				if err = s.saidRunning(f); err == nil {
					return "", nil
				}
			default:
				err = fmt.Errorf("COMMIT was sent, RUNNING did not come: %w", err)
			}
		case <-s.cfg.runs:
			return "RUNNING did not come, the daemons say that the guest runs", nil
		case <-ctx.Done():
			return "", fmt.Errorf("COMMIT was sent, RUNNING did not come: %w", late("waiting for RUNNING", ctx))
		}
	}
	return s.unheard(ctx, err)
}

func (s *source) saidRunning(f link.Frame) error {
	if _, err := s.check(f, link.Running); err != nil {
		return fmt.Errorf("COMMIT was sent, RUNNING did not come: %w", err)
	}
	return nil
}

// unheard waits for the daemon, which sends COMMIT another way, also where the
// destination's gateway has given up: the guest is loaded. The stream to here
// stays open: QEMU takes the disks' locks back when it breaks, and the destination
// could not run.
func (s *source) unheard(ctx context.Context, cause error) (reason string, err error) {
	if !s.cfg.CommitAgain {
		return "", cause
	}
	s.phase(Unheard)
	select {
	case <-s.cfg.runs:
		return cause.Error() + "; the daemons say that the guest runs", nil
	case <-ctx.Done():
		return "", cause
	}
}

// release lets the source's QEMU finish, by the SHUT of a destination that runs
// well. What goes wrong here does not matter: the copy is to be killed.
func (s *source) release() {
	if err := stream.WriteReturn(s.pipe, stream.ReturnMessage{Type: stream.ReturnShut, Data: make([]byte, 4)}); err != nil {
		return
	}
	timer := time.NewTimer(releaseWait)
	defer timer.Stop()
	for {
		select {
		case e, open := <-s.qemu.Events:
			if !open || (e.Name == "MIGRATION" && bytes.Contains(e.Data, []byte(`"completed"`))) {
				return
			}
		case <-timer.C:
			return
		}
	}
}

// rollback continues the guest at the source. The pipe is closed first: QEMU
// may sit in a write under its big lock, and would not hear a command.
func (s *source) rollback(t0 time.Time, cause error) {
	s.phase(Rollback)
	s.cutMirrors()
	s.pipe.Close()
	go s.send.abort()
	if err := s.resumeGuest(); err != nil {
		// Nothing here can continue the guest. It is paused, not lost, and its
		// host's daemon is told.
		s.result.StopMs = ms(time.Since(t0))
		s.finish(Failed, fmt.Errorf("%v; and the guest could not be continued: %w", cause, err)) // nothing to try again
		return
	}
	s.result.StopMs = ms(time.Since(t0))
	s.phase(Resumed)
	s.finish(RolledBack, cause)
}

// resumeGuest cancels the migration and continues the guest, again and again:
// QEMU refuses `cont` until it has finished failing.
func (s *source) resumeGuest() error {
	ctx, cancel := context.WithTimeout(context.Background(), qmpTimeout)
	defer cancel()
	q := s.qemu
	for {
		err := tryResume(ctx, q)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		var refused *qmp.Error
		if !errors.As(err, &refused) {
			// The connection is gone, perhaps because a command ran into the
			// deadline: make a new one.
			fresh, derr := qmp.Dial(ctx, s.cfg.QMP)
			switch {
			case derr == nil:
				q.Close()
				s.qemu, q = fresh, fresh
			case errors.Is(derr, unix.ECONNREFUSED) || errors.Is(derr, fs.ErrNotExist):
				return fmt.Errorf("the source's QEMU is gone: %w", derr) // nobody listens: it is dead
			}
		}
		time.Sleep(500 * time.Microsecond)
	}
}

func tryResume(ctx context.Context, q *qmp.Client) error {
	if err := q.Execute(ctx, "migrate_cancel", nil, nil); err != nil {
		return err
	}
	if err := q.Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	var status struct {
		Status string `json:"status"`
	}
	if err := q.Execute(ctx, "query-status", nil, &status); err != nil {
		return err
	}
	if status.Status != "running" {
		return &qmp.Error{Command: "cont", Desc: "the guest is " + status.Status}
	}
	return nil
}

// pause waits in a phase, for tests.
func (s *source) pause(ctx context.Context, p Phase) {
	if s.cfg.PauseAt == p {
		pause(ctx, s.cfg.on)
	}
}

func pause(ctx context.Context, on <-chan struct{}) {
	select {
	case <-on:
	case <-ctx.Done():
	}
}
