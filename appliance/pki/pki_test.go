package pki

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAHostsCertificateServesBothEndsAndBearsItsRole(t *testing.T) {
	dir := t.TempDir()
	a, err := Init(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Host("host-a"); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	c := read(t, filepath.Join(dir, "host-a.crt"))
	for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := c.Verify(x509.VerifyOptions{DNSName: "host-a", Roots: pool, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
			t.Error(err)
		}
	}
	if c.Subject.OrganizationalUnit[0] != HostRole {
		t.Errorf("role = %v, want %s", c.Subject.OrganizationalUnit, HostRole)
	}
}

func TestAnOperatorsCertificateServesNoHost(t *testing.T) {
	dir := t.TempDir()
	a, err := Init(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Operator("kim", "OPERATOR"); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	_, err = read(t, filepath.Join(dir, "kim.crt")).Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err == nil {
		t.Error("an operator's certificate can pose as a server")
	}
	if err := a.Operator("lee", "KING"); err == nil || !strings.Contains(err.Error(), "OPERATOR") {
		t.Errorf("an unknown role: %v; want an error that names the roles", err)
	}
}

func TestNoKeyIsEverReplaced(t *testing.T) {
	dir := t.TempDir()
	a, err := Init(dir, "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Host("host-a"); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, "host-a.key"))
	if err := a.Host("host-a"); err == nil || !strings.Contains(err.Error(), "not replaced") {
		t.Errorf("a second host: %v; want a refusal", err)
	}
	// To remove the first, as for a host, is no advice.
	if _, err := Init(dir, "again"); err == nil || !strings.Contains(err.Error(), "use another folder") || strings.Contains(err.Error(), "remove") {
		t.Errorf("a second authority: %v; want a refusal", err)
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "host-a.key")); string(after) != string(before) {
		t.Error("the key was replaced")
	}
}

func TestASiteAndAHostHaveNamesOfTheSiteFile(t *testing.T) {
	for _, site := range []string{"", strings.Repeat("s", 65)} {
		if _, err := Init(t.TempDir(), site); err == nil || !strings.Contains(err.Error(), "1 to 64 bytes") {
			t.Errorf("Init(%q) = %v; want a refusal", site, err)
		}
	}
	a, err := Init(t.TempDir(), "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"Host-A", "host.a", "host_a", "host-", strings.Repeat("h", 33)} {
		if err := a.Host(name); err == nil || !strings.Contains(err.Error(), "cannot be a name in the site file") {
			t.Errorf("Host(%q) = %v; want a refusal", name, err)
		}
	}
}

func read(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
