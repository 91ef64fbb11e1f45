package node

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"bumpless/appliance/api"
	"bumpless/ha/core"
)

// leaderFake answers a status, or does not answer.
type leaderFake struct {
	api.Backend
	api.HostBackend
	status api.Status
	hangs  bool
}

func (f *leaderFake) Status(ctx context.Context) (api.Status, error) {
	if f.hangs {
		<-ctx.Done()
	}
	return f.status, ctx.Err()
}

// peerOf makes it a host that n can ask.
func (f *leaderFake) peerOf(t *testing.T, n *Node, name string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := api.NewServer("host-b", f, f, slog.New(slog.DiscardHandler))
	go server.Serve(l, nil)
	t.Cleanup(func() { server.Close() })
	n.peers = map[string]*api.Client{name: api.NewLocalClient(socket)}
}

func TestAHostThatDoesNotLeadAsksTheLeaderWhoIsSilent(t *testing.T) {
	long, unknown := 42.0, -1.0
	for _, c := range []struct {
		what   string
		leader string
		fake   leaderFake
		known  bool
	}{
		{"the leader knows", "host-b", leaderFake{status: api.Status{Hosts: []api.HostStatus{{Name: "host-a", SilentS: &long}}}}, true},
		{"the leader hangs", "host-b", leaderFake{hangs: true}, false},
		{"the leader cannot be reached", "host-c", leaderFake{}, false},
		{"no leader", "", leaderFake{}, false},
		{"the leader's release says -1", "host-b", leaderFake{status: api.Status{Hosts: []api.HostStatus{{Name: "host-a", SilentS: &unknown}}}}, false},
	} {
		n := newTestNode(t)
		c.fake.peerOf(t, n, "host-b")
		began := time.Now()
		got, known := n.silences(context.Background(), c.leader)["host-a"]
		if known != c.known || known && got != long {
			t.Errorf("%s: host-a is silent for %v, known %v; want known %v", c.what, got, known, c.known)
		}
		if took := time.Since(began); took > patience {
			t.Errorf("%s: asked for %v", c.what, took)
		}
	}
}

func TestAStatusSaysWhatTheLeaderSaidOfSilence(t *testing.T) {
	s := newLeading("host-a", "host-b").log
	hosts, _ := statusLists(s, core.View{}, map[string]float64{"host-a": 42})
	if hosts[0].SilentS == nil || *hosts[0].SilentS != 42 || hosts[1].SilentS != nil {
		t.Errorf("hosts = %+v; want host-a silent for 42 s, and nothing of host-b", hosts)
	}
}
