package gateway

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/policy"
)

// stoppable is a source with one mirrored disk in step, whose QEMU answers by the
// script; its last looks are taken.
func stoppable(t *testing.T, answer func(command string, nth int) string) *source {
	s, _ := scripted(t, func(command string, nth int) string {
		if a := answer(command, nth); a != "" {
			return a
		}
		return map[string]string{"query-jobs": inStepJob, "query-status": `{"status": "running"}`}[command]
	})
	s.send, s.broken, s.report = &sender{}, make(chan error, 1), func(Event) {}
	s.leave = leave{answer: make(chan error, 1)}
	return s
}

// What a yes allows is covered by the host's lease for a while; a host whose lease ends
// kills its guests, also one that is stopped for its move.
func TestAYesThatIsOldWhenTheLastLooksAreOverIsAskedForAgain(t *testing.T) {
	for look, stop := range map[time.Duration]bool{0: true, 2 * LeaseCovers: false} {
		s := stoppable(t, func(string, int) string { time.Sleep(look); return "" })
		s.leave.granted = time.Now()
		if may, over := s.mayStillStop(within(t, 10*time.Second)); may != stop || over {
			t.Errorf("after a look of %v: mayStillStop() = %v, over: %v; want %v", look, may, over, stop)
		}
	}
}

// The answer may take minutes, and a guest that somebody pauses in them sends no more
// passes: nobody else would notice.
func TestAGuestThatIsPausedWhileTheDaemonIsAskedEndsItsMove(t *testing.T) {
	asked := make(chan struct{})
	s := stoppable(t, func(command string, _ int) string {
		select {
		case <-asked:
			return map[string]string{"query-status": `{"status": "paused"}`}[command]
		default:
			return ""
		}
	})
	s.ask = func(ctx context.Context) error {
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	}
	ctx := within(t, 10*time.Second)
	if stop, over := s.mayStop(ctx, policy.Decision{}); stop || over {
		t.Fatalf("mayStop() = %v, over: %v; want neither, before there is an answer", stop, over)
	}
	defer s.stopWatching()
	select {
	case err := <-s.broken:
		if !strings.Contains(err.Error(), "somebody else has paused it") {
			t.Errorf("the move ends because of %v; want the pause", err)
		}
	case <-ctx.Done():
		t.Error("nobody has noticed it after 10 s")
	}
}

func TestAMarkerThatIsMadeAfterTheDeadlineGoesAgain(t *testing.T) {
	for late, wrong := range map[time.Duration]bool{-time.Hour: false, time.Hour: true} {
		s := &source{cfg: SourceConfig{RunDir: t.TempDir()}}
		err := s.mark(time.Now().Add(-late))
		_, missing := os.Lstat(filepath.Join(s.cfg.RunDir, CommittedMarker))
		if (err != nil) != wrong || errors.Is(missing, os.ErrNotExist) != wrong {
			t.Errorf("mark(), late by %v, = %v, and the marker: %v; want it away: %v", late, err, missing, wrong)
		}
	}
}

// The marker of another move, or one's own that was made before, is nobody's to remove.
func TestAMarkerThatIsThereStays(t *testing.T) {
	s := &source{cfg: SourceConfig{RunDir: t.TempDir()}}
	for _, deadline := range []time.Time{time.Now().Add(time.Hour), {}} {
		err := s.mark(deadline)
		if _, missing := os.Lstat(filepath.Join(s.cfg.RunDir, CommittedMarker)); missing != nil {
			t.Errorf("mark() = %v, and the marker: %v; want it there", err, missing)
		}
	}
}
