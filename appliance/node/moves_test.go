package node

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"bumpless/appliance/guest"
	"bumpless/ha/core"
	"bumpless/migrate/gateway"
)

// hangs is a gateway that stops the guest and says nothing more.
const hangs = `#!/bin/sh
read config
echo '{"phase":"stop","at_ms":1}'
exec sleep 60
`

func TestAGatewayThatHangsWithItsGuestStoppedEndsWithinTheBudget(t *testing.T) {
	n := newTestNode(t)
	n.site.RunDir, n.site.Move.MarginMs = t.TempDir(), 200
	n.hypervisor = &hypervisor{Runner: &guest.Runner{RunDir: n.site.RunDir}}
	n.binary = filepath.Join(t.TempDir(), "gateway")
	if err := os.WriteFile(n.binary, []byte(hangs), 0o700); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := n.runGateway(core.Move{ID: "m", Guest: "g", BudgetMs: 1000}, source, gateway.SourceConfig{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if g := n.moves.get("m"); g != nil {
			g.Kill()
		}
	})
	for limit := time.After(10 * time.Second); ; {
		select {
		case e := <-n.loop.events:
			if r, ok := e.(core.MoveResult); ok {
				took := time.Since(began)
				if r.Outcome != core.Failed || r.Committed || took < 800*time.Millisecond {
					t.Errorf("result = %+v after %v; want failed, not committed, and not before the gateway's own deadline", r, took)
				}
				return
			}
		case <-limit:
			t.Fatal("the gateway still keeps its guest stopped")
		}
	}
}

func TestWhatTheSitesOwnCheckSaysIsAReasonOnOneLine(t *testing.T) {
	n := newTestNode(t)
	n.site.Move.BeforeStop = filepath.Join(t.TempDir(), "check")
	n.site.Move.BeforeStopMs = 300
	for script, want := range map[string]string{
		"#!/bin/sh\necho 'main2 is not healthy'\nexit 1\n": "move.before_stop: exit status 1: main2 is not healthy",
		"#!/bin/sh\nexec sleep 60\n":                       "move.before_stop: it did not end within 300 ms (move.before_stop_ms)",
	} {
		if err := os.WriteFile(n.site.Move.BeforeStop, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := n.beforeStop(core.Move{Guest: "g"}); err == nil || err.Error() != want {
			t.Errorf("beforeStop() with %q = %v; want %q", script, err, want)
		}
	}
}
