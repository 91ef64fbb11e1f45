package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// site makes an authority with two hosts and an operator.
func site(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	a, err := Init(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{a.Host("host-a", net.IPv4(10, 1, 0, 1)), a.Host("host-b"), a.Operator("kim", "OPERATOR")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// end is what one end of a connection is configured with, from the files.
func end(t *testing.T, dir, name string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("ca.crt holds no certificate")
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
}

// handshake connects the two ends and returns what each of them says; the
// client expects the server to be serverName.
func handshake(t *testing.T, client, server *tls.Config, serverName string) (atClient, atServer error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		s := tls.Server(conn, server)
		err = s.SetDeadline(time.Now().Add(20 * time.Second))
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		served <- err
	}()
	client = client.Clone()
	client.ServerName = serverName
	dialer := net.Dialer{Timeout: 20 * time.Second}
	c, err := tls.DialWithDialer(&dialer, "tcp", listener.Addr().String(), client)
	if err == nil { // in TLS 1.3 the client learns by its first read that it was refused
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	return err, <-served
}

func TestAHandshakeIsRefusedUnlessBothEndsProveThemselves(t *testing.T) {
	ours, strangers := site(t), site(t)
	nobody := &tls.Config{RootCAs: end(t, ours, "host-a").RootCAs}
	for _, c := range []struct {
		what                   string
		client, server         *tls.Config
		name                   string
		wantClient, wantServer string // "" for success
	}{
		{"two hosts", end(t, ours, "host-a"), end(t, ours, "host-b"), "host-b", "", ""},
		{"by address", end(t, ours, "host-b"), end(t, ours, "host-a"), "10.1.0.1", "", ""},
		{"an operator and a host", end(t, ours, "kim"), end(t, ours, "host-a"), "host-a", "", ""},
		{"a stranger's client", end(t, strangers, "host-a"), end(t, ours, "host-b"), "host-b", "unknown authority", ""},
		{"a stranger's client that trusts us", trusting(end(t, strangers, "host-a"), end(t, ours, "host-a")), end(t, ours, "host-b"), "host-b", "unknown certificate authority", "unknown authority"},
		{"a stranger's server", end(t, ours, "host-a"), trusting(end(t, strangers, "host-b"), end(t, ours, "host-b")), "host-b", "unknown authority", "bad certificate"},
		{"another host's name", end(t, ours, "host-a"), end(t, ours, "host-b"), "host-c", "valid for host-b, not host-c", "bad certificate"},
		{"another host's address", end(t, ours, "host-b"), end(t, ours, "host-a"), "10.1.0.2", "not 10.1.0.2", "bad certificate"},
		{"an operator who serves", end(t, ours, "host-a"), end(t, ours, "kim"), "kim", "x509", "bad certificate"},
		{"a client without a certificate", nobody, end(t, ours, "host-b"), "host-b", "certificate required", "didn't provide a certificate"},
	} {
		atClient, atServer := handshake(t, c.client, c.server, c.name)
		if !says(atClient, c.wantClient) || c.wantServer != "" && !says(atServer, c.wantServer) {
			t.Errorf("%s: client %v, server %v; want %q, %q", c.what, atClient, atServer, c.wantClient, c.wantServer)
		}
	}
}

// trusting has one end's certificate and the other's authority.
func trusting(certificate, authority *tls.Config) *tls.Config {
	c := certificate.Clone()
	c.RootCAs, c.ClientCAs = authority.RootCAs, authority.ClientCAs
	return c
}

func says(err error, want string) bool {
	if want == "" || err == nil {
		return want == "" && err == nil
	}
	return strings.Contains(err.Error(), want)
}

func TestAHostCannotMakeCertificates(t *testing.T) {
	dir := site(t)
	host := read(t, filepath.Join(dir, "host-a.crt"))
	if host.IsCA || host.KeyUsage&x509.KeyUsageCertSign != 0 {
		t.Error("a host's certificate is an authority's")
	}
	ca := read(t, filepath.Join(dir, "ca.crt"))
	if !ca.IsCA || !ca.MaxPathLenZero {
		t.Error("the authority may be extended by another below it")
	}
	fake := t.TempDir() // host-a's files in the place of an authority's
	for from, to := range map[string]string{"host-a.crt": "ca.crt", "host-a.key": "ca.key"} {
		copyFile(t, filepath.Join(dir, from), filepath.Join(fake, to))
	}
	if _, err := Open(fake); err == nil || !strings.Contains(err.Error(), "not an authority's") {
		t.Errorf("Open() = %v; want a refusal", err)
	}
}

func TestKeysAreForTheirOwnerAlone(t *testing.T) {
	old := syscall.Umask(0) // as careless as can be
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "pki")
	a, err := Init(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{a.Host("host-a"), a.Operator("kim", "VIEWER")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]os.FileMode{".": os.ModeDir | 0o700, "ca.key": 0o600, "host-a.key": 0o600, "kim.key": 0o600, "ca.crt": 0o644, "host-a.crt": 0o644, "kim.crt": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}

func TestAnAuthorityWhoseKeyOthersCanReadIsRefused(t *testing.T) {
	dir := site(t)
	for mode, want := range map[os.FileMode]string{0o600: "", 0o400: "", 0o640: "chmod 600", 0o604: "chmod 600"} {
		if err := os.Chmod(filepath.Join(dir, "ca.key"), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); !says(err, want) {
			t.Errorf("Open() with mode %v = %v; want %q", mode, err, want)
		}
	}
}

func TestAnAuthorityThatIsIncompleteIsNamed(t *testing.T) {
	for what, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"no certificate": {func(t *testing.T, dir string) { remove(t, dir, "ca.crt") }, "ca.crt"},
		"no key":         {func(t *testing.T, dir string) { remove(t, dir, "ca.key") }, "ca.key"},
		"not PEM":        {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "ca.crt"), "x") }, "not PEM"},
		"not a certificate": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "ca.crt"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
		}, "x509"},
		"another's key": {func(t *testing.T, dir string) {
			remove(t, dir, "ca.key")
			copyFile(t, filepath.Join(dir, "host-a.key"), filepath.Join(dir, "ca.key"))
		}, "does not belong"},
	} {
		dir := site(t)
		c.spoil(t, dir)
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "open the site's authority") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open() = %v; want %q", what, err, c.want)
		}
	}
}

func TestARefusalLeavesNothingBehind(t *testing.T) {
	dir := site(t)
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, dir, "host-a.key") // the certificate alone is left
	before := read(t, filepath.Join(dir, "host-a.crt"))
	if err := a.Host("host-a"); err == nil || !strings.Contains(err.Error(), "host-a.crt exists and is not replaced") {
		t.Errorf("Host() = %v; want a refusal", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "host-a.key")); err == nil {
		t.Error("a key without its certificate was left behind")
	}
	if !read(t, filepath.Join(dir, "host-a.crt")).Equal(before) {
		t.Error("the certificate was replaced")
	}
	remove(t, dir, "host-a.crt")
	if err := a.Host("host-a"); err != nil {
		t.Errorf("Host() once both are removed = %v", err)
	}
}

func TestANameStaysWithinItsDirectory(t *testing.T) {
	dir := site(t)
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "ca", "CA", ".", "..", "a/b", "../x", "/x", "-x", ".x", "a b", "a\x00b", "é", strings.Repeat("x", 65)} {
		for what, err := range map[string]error{"Host": a.Host(name), "Operator": a.Operator(name, "VIEWER")} {
			if err == nil || !strings.Contains(err.Error(), "cannot be a name") {
				t.Errorf("%s(%q) = %v; want a refusal", what, name, err)
			}
		}
	}
	for _, role := range append(Roles, "") {
		if err := a.Operator("op-"+strings.ToLower(role), role); (err == nil) != (role != "") {
			t.Errorf("Operator(%q) = %v", role, err)
			continue
		}
		if role == "" {
			continue
		}
		if got := read(t, filepath.Join(dir, "op-"+strings.ToLower(role)+".crt")).Subject.OrganizationalUnit; len(got) != 1 || got[0] != role {
			t.Errorf("role = %v; want %s", got, role)
		}
	}
	if err := a.Operator("eve", HostRole); err == nil {
		t.Error("an operator can have the role of a host")
	}
}

func TestCertificatesOutliveTheServersVisits(t *testing.T) {
	dir := site(t)
	ca, host := read(t, filepath.Join(dir, "ca.crt")), read(t, filepath.Join(dir, "host-a.crt"))
	if now := time.Now(); host.NotBefore.After(now) || host.NotAfter.Before(now.AddDate(leafYears, 0, -1)) || ca.NotAfter.Before(host.NotAfter) {
		t.Errorf("host %v to %v, authority to %v", host.NotBefore, host.NotAfter, ca.NotAfter)
	}
	if ca.SerialNumber.Cmp(host.SerialNumber) == 0 || ca.SerialNumber.Sign() <= 0 {
		t.Error("serial numbers are not unique and positive")
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(b))
}
