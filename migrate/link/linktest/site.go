// Package linktest makes certificates for tests, the way a site has them.
package linktest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Site is an authority with its files in a directory of the test.
type Site struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewSite makes an authority.
func NewSite(t testing.TB) *Site {
	t.Helper()
	s := &Site{t: t, dir: t.TempDir()}
	s.cert, s.key = s.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	return s
}

// Host makes a host's certificate and returns the paths of it, of its key and
// of the authority's certificate.
func (s *Site) Host(name string) (cert, key, ca string) {
	s.t.Helper()
	s.issue(name, &x509.Certificate{DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, s.cert, s.key)
	return s.path(name + ".crt"), s.path(name + ".key"), s.path("ca.crt")
}

func (s *Site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Site) issue(name string, c, by *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if by == nil {
		by, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, signer)
	s.must(err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	s.must(err)
	s.save(name+".crt", "CERTIFICATE", der)
	s.save(name+".key", "PRIVATE KEY", raw)
	parsed, err := x509.ParseCertificate(der)
	s.must(err)
	return parsed, key
}

func (s *Site) save(name, kind string, der []byte) {
	s.t.Helper()
	s.must(os.WriteFile(s.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (s *Site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
