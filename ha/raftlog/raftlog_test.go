package raftlog

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bumpless/ha/core"
)

// site is three replicas on loopback, with a certificate authority of their own.
type site struct {
	t     *testing.T
	ca    *x509.Certificate
	key   *ecdsa.PrivateKey
	pool  *x509.CertPool
	dir   string
	peers []Peer
	logs  map[string]*Log
}

const patience = 40 * time.Second // a busy machine needs ten times what an idle one does

func newSite(t *testing.T) *site {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "site"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	ca, err := x509.ParseCertificate(der)
	must(t, err)
	s := &site{t: t, ca: ca, key: key, pool: x509.NewCertPool(), dir: t.TempDir(), logs: map[string]*Log{}}
	s.pool.AddCert(ca)
	for _, id := range []string{"host-a", "host-b", "witness"} {
		s.peers = append(s.peers, Peer{ID: id, Addresses: []string{freeAddress(t), freeAddress(t)}})
	}
	t.Cleanup(func() {
		for _, l := range s.logs {
			l.Close()
		}
	})
	return s
}

func freeAddress(t *testing.T) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

func (s *site) tls(name string) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(s.t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, s.ca, &key.PublicKey, s.key)
	must(s.t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: s.pool, ClientCAs: s.pool}
}

func (s *site) config(id string) Config {
	for _, p := range s.peers {
		if p.ID == id {
			return Config{ID: id, Dir: filepath.Join(s.dir, id), Bind: p.Addresses, Peers: s.peers, TLS: s.tls(id), Election: 500 * time.Millisecond}
		}
	}
	s.t.Fatalf("no host %s", id)
	return Config{}
}

func (s *site) start(ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		l, err := Open(s.config(id))
		must(s.t, err)
		s.logs[id] = l
	}
}

func (s *site) stop(id string) {
	s.t.Helper()
	must(s.t, s.logs[id].Close())
	delete(s.logs, id)
}

// propose tries every host until one leads.
func (s *site) propose(c core.Command) (string, core.Result) {
	s.t.Helper()
	var last error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for id, l := range s.logs {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			r, err := l.Propose(ctx, c)
			cancel()
			if err == nil {
				return id, r
			}
			last = err
		}
	}
	s.t.Fatalf("no leader within %v: %v", patience, last)
	return "", core.Result{}
}

func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	s.t.Fatalf("not within %v: %s", patience, what)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func register(name string) core.Command {
	return core.Command{By: core.Order{Name: "test", Role: core.RoleHost}, RegisterHost: &core.RegisterHost{Name: name, Role: core.Server}}
}

func TestACommandReachesEveryHost(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b", "witness")
	_, r := s.propose(register("x"))
	must(t, r.Err())
	for id, l := range s.logs {
		s.eventually(id+" knows host x", func() bool { _, ok := l.State().Hosts["x"]; return ok })
	}
}

func TestARefusalIsAResultAndNoError(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b", "witness")
	_, r := s.propose(core.Command{})
	if r.OK() || r.Code != core.Malformed {
		t.Errorf("Propose(empty command) = %+v; want code %s", r, core.Malformed)
	}
}

func TestAFollowerNamesTheLeader(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b", "witness")
	leader, _ := s.propose(register("x"))
	for id, l := range s.logs {
		if id == leader {
			continue
		}
		s.eventually(id+" names the leader", func() bool {
			_, err := l.Propose(context.Background(), register("y"))
			var other *NotLeaderError
			return errors.As(err, &other) && errors.Is(err, ErrNotLeader) && other.Leader == leader
		})
	}
}

func TestWithoutALeaderTheQuorumOfTheSiteIsNamed(t *testing.T) {
	for hosts, want := range map[int]string{1: "are 1 of the site's 1 hosts up", 3: "are 2 of the site's 3 hosts up", 5: "are 3 of the site's 5 hosts up"} {
		if got := (&NotLeaderError{Hosts: hosts}).Error(); !strings.Contains(got, want) {
			t.Errorf("NotLeaderError of %d hosts = %q; want %q", hosts, got, want)
		}
	}
	s := newSite(t)
	s.start("host-a")
	_, err := s.logs["host-a"].Propose(context.Background(), register("x"))
	if err == nil || !strings.Contains(err.Error(), "are 2 of the site's 3 hosts up") {
		t.Errorf("Propose() on one host of three = %v; want the quorum named", err)
	}
}

func TestTheLogGoesOnWithoutTheLeaderAndAcrossRestarts(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b", "witness")
	leader, _ := s.propose(register("x"))
	s.stop(leader)
	_, r := s.propose(register("y"))
	must(t, r.Err())
	s.start(leader)
	s.eventually("the restarted host caught up", func() bool { return len(s.logs[leader].State().Hosts) == 2 })
}

func TestConfirmNeedsAQuorumNow(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b", "witness")
	leader, r := s.propose(register("x"))
	l := s.logs[leader]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	index, err := l.Confirm(ctx)
	if err != nil || index < r.Index {
		t.Fatalf("Confirm() = %d, %v; want at least index %d", index, err, r.Index)
	}
	for id := range s.logs {
		if id != leader {
			s.stop(id)
		}
	}
	if _, err := l.Confirm(ctx); !errors.Is(err, ErrNotLeader) {
		t.Errorf("Confirm() without the others: %v; want ErrNotLeader", err)
	}
}

func TestConfirmFailsOnceAPeerHasVotedForAnother(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b", "witness")
	leader, _ := s.propose(register("x"))
	l := s.logs[leader]
	term, _ := l.leads()
	for id, other := range s.logs {
		if id != leader {
			other.stream.answerWith(func() uint64 { return term + 1 }) // as after a vote in a newer term
		}
	}
	if _, err := l.Confirm(context.Background()); !errors.Is(err, ErrNotLeader) {
		t.Errorf("Confirm() with voters in a newer term: %v; want ErrNotLeader", err)
	}
}

func TestASubscriberSeesStatesBeforeTheLeadershipThatRestsOnThem(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b", "witness")
	first, r := s.propose(register("x"))
	watch := map[string]<-chan Update{}
	for id, l := range s.logs {
		if id != first {
			watch[id], _ = l.Subscribe()
		}
	}
	s.stop(first)
	found := make(chan error, 2)
	for id, updates := range watch {
		go func() {
			var index uint64
			for u := range updates {
				if u.State != nil {
					index = u.State.Index
				} else if u.Leader.Leads && index < r.Index {
					found <- fmt.Errorf("%s leads at index %d; want at least %d", id, index, r.Index)
					return
				} else if u.Leader.Leads {
					found <- nil
					return
				}
			}
		}()
	}
	select {
	case err := <-found:
		must(t, err)
	case <-time.After(patience):
		t.Fatalf("nobody led within %v", patience)
	}
}

func TestAStrangerIsNotAnswered(t *testing.T) {
	s := newSite(t)
	s.start("host-a")
	address := s.peers[0].Addresses[0]
	other := newSite(t)
	for name, config := range map[string]*tls.Config{
		"another authority":     other.tls("host-b"),
		"no host of the site":   s.tls("laptop"),
		"no certificate at all": {RootCAs: s.pool},
	} {
		config.RootCAs, config.ServerName = s.pool, "host-a"
		conn, err := tls.Dial("tcp", address, config)
		if err != nil {
			continue // refused in the handshake
		}
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		_, werr := conn.Write(append([]byte{kindConfirm}, make([]byte, nonceSize)...))
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: answered with %d bytes (write: %v); want a closed connection", name, n, werr)
		}
		conn.Close()
	}
}

func TestAHostWithTheWrongNameIsNotCalled(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b")
	l := s.logs["host-a"]
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lying := Peer{ID: "witness", Addresses: s.peers[1].Addresses} // host-b's door
	if conn, err := l.stream.dialPeer(ctx, lying, kindConfirm); err == nil {
		conn.Close()
		t.Error("dialPeer(witness) at host-b's address succeeded; want a certificate error")
	}
}

func TestADeadLANCostsNoConnection(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	halfDead := Peer{ID: "host-b", Addresses: []string{"127.0.0.1:1", s.peers[1].Addresses[1]}}
	conn, err := s.logs["host-a"].stream.dialPeer(ctx, halfDead, kindConfirm)
	must(t, err)
	conn.Close()
}

func TestOpenRefusesAConfigurationThatCannotWork(t *testing.T) {
	s := newSite(t)
	for name, spoil := range map[string]func(*Config){
		"not among the peers": func(c *Config) { c.ID = "host-z" },
		"nowhere to listen":   func(c *Config) { c.Bind = nil },
		"no certificates":     func(c *Config) { c.TLS = &tls.Config{} },
		"a peer twice":        func(c *Config) { c.Peers = append(c.Peers, c.Peers[0]) },
		"a peer nowhere":      func(c *Config) { c.Peers = append(c.Peers, Peer{ID: "x"}) },
	} {
		c := s.config("host-a")
		c.Peers = append([]Peer(nil), c.Peers...)
		spoil(&c)
		if l, err := Open(c); err == nil {
			l.Close()
			t.Errorf("Open with %s succeeded; want an error", name)
		}
	}
}

func TestAnAddressThatCannotBeListenedAtSaysWhatToLookAt(t *testing.T) {
	s := newSite(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for address, want := range map[string]string{
		"192.0.2.1:7001":      "192.0.2.1 is no address of this machine: is LAN A up, and is --host host-a right?",
		taken.Addr().String(): "does another daemon hold the port?",
	} {
		cfg := s.config("host-a")
		cfg.Bind = []string{address}
		_, err := listen(cfg)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("listen(%s) = %v; want %q", address, err, want)
		}
	}
}

func TestASnapshotRestoresTheSameState(t *testing.T) {
	s := newSite(t)
	s.start("host-a", "host-b", "witness")
	for i := range 10 {
		s.propose(register(fmt.Sprintf("host-%d", i)))
	}
	leader, r := s.propose(register("last"))
	must(t, s.logs[leader].raft.Snapshot().Error())
	want := s.logs[leader].State()
	s.stop(leader)
	s.start(leader)
	s.eventually("the snapshot is back", func() bool { return s.logs[leader].State().Index >= r.Index })
	if got := s.logs[leader].State(); len(got.Hosts) != len(want.Hosts) {
		t.Errorf("after a restart the state has %d hosts; want %d", len(got.Hosts), len(want.Hosts))
	}
}
