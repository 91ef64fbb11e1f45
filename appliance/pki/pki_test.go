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
	for what, err := range map[string]error{"host": a.Host("host-a"), "authority": func() error { _, err := Init(dir, "again"); return err }()} {
		if err == nil || !strings.Contains(err.Error(), "not replaced") {
			t.Errorf("a second %s: %v; want a refusal", what, err)
		}
	}
	if after, _ := os.ReadFile(filepath.Join(dir, "host-a.key")); string(after) != string(before) {
		t.Error("the key was replaced")
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
