package guest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// stand is a process that looks like a copy of main1 and does nothing.
func (r *Runner) stand(t *testing.T, epoch uint64) (ended <-chan struct{}) {
	t.Helper()
	dir := r.dir("main1", epoch)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "read forever", "sh", "socket,id=qmp,path="+filepath.Join(dir, daemonSocket)+",server=on")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed: the status says only that
		close(done)
	}()
	t.Cleanup(func() {
		in.Close()
		<-done
	})
	return done
}

func TestKillEndsCopiesUpToAnEpochAndNoOther(t *testing.T) {
	r := &Runner{RunDir: t.TempDir()}
	first, second := r.stand(t, 1), r.stand(t, 2)
	copies, err := r.Find()
	if err != nil || len(copies) != 2 {
		t.Fatalf("Find() = %v, %v; want two copies", copies, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := r.Kill(ctx, "main1", 1); err != nil {
		t.Fatal(err)
	}
	select {
	case <-first:
	case <-ctx.Done():
		t.Fatal("Kill() returned and the copy lives")
	}
	select {
	case <-second:
		t.Fatal("a copy with a higher epoch was killed")
	default:
	}
	copies, err = r.Find()
	if err != nil || len(copies) != 1 || copies[0].Epoch != 2 {
		t.Errorf("Find() = %v, %v; want the copy of epoch 2", copies, err)
	}
	if _, err := os.Stat(r.dir("main1", 1)); !os.IsNotExist(err) {
		t.Errorf("the dead copy's directory is still there: %v", err)
	}
}

func TestACopyIsIncomingUntilItRan(t *testing.T) {
	r := &Runner{RunDir: t.TempDir()}
	r.stand(t, 5)
	if err := os.WriteFile(filepath.Join(r.dir("main1", 5), incomingFlag), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	incoming := func() bool {
		copies, err := r.Find()
		if err != nil || len(copies) != 1 {
			t.Fatalf("Find() = %v, %v; want one copy", copies, err)
		}
		return copies[0].Incoming
	}
	if !incoming() {
		t.Error("Incoming = false; want true before it ran")
	}
	for range 2 { // the second time nothing is left to be done
		if err := r.MarkRan("main1", 5); err != nil {
			t.Fatal(err)
		}
	}
	if incoming() {
		t.Error("Incoming = true; want false after it ran")
	}
}
