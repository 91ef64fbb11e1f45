// Package pki makes the certificates of a site: one authority, a certificate
// for each host, one for each operator. Everything that talks over a network
// in Bumpless proves itself by one of them.
//
//	DIR/ca.crt  DIR/ca.key          the site's authority; its key belongs in a safe
//	DIR/NAME.crt  DIR/NAME.key      a host or an operator
//
// The subject's common name is the host's or operator's name. Its
// organisational unit is the role: HOST, or one of IEC 62351-8 for a person.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"bumpless/appliance/config"
)

// HostRole is the role of a host's own daemon.
const HostRole = "HOST"

// Roles of IEC 62351-8, table 1, that a person may have.
var Roles = []string{"VIEWER", "OPERATOR", "ENGINEER", "INSTALLER", "SECADM", "SECAUD", "RBACMNT"}

// Validity of certificates. A substation's servers run for years between two
// visits; the authority must outlive them.
const (
	authorityYears = 25
	leafYears      = 10
)

// Authority signs certificates.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Init makes a new authority in dir; it refuses when there is one.
func Init(dir, site string) (*Authority, error) {
	if err := config.SiteName(site); err != nil {
		return nil, fmt.Errorf("make the site's authority: %.80q: %w", site, err)
	}
	for _, file := range []string{"ca.crt", "ca.key"} {
		if _, err := os.Lstat(filepath.Join(dir, file)); err == nil {
			return nil, fmt.Errorf("make the site's authority: %s holds an authority already; a new one makes every certificate of the site invalid: use another folder", dir)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the site's authority: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the site's authority: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "Bumpless site " + site},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(authorityYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make the site's authority: %w", err)
	}
	if err := save(dir, "ca", der, key); err != nil {
		return nil, fmt.Errorf("make the site's authority: %w", err)
	}
	return Open(dir)
}

// Open loads the authority in dir; it refuses a key that others can read.
func Open(dir string) (*Authority, error) {
	certPEM, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open the site's authority: %w: `bumpless pki init %s SITE` first", err, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the site's authority: %w", err)
	}
	if err := private(filepath.Join(dir, "ca.key")); err != nil {
		return nil, fmt.Errorf("open the site's authority: %w", err)
	}
	keyPEM, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, fmt.Errorf("open the site's authority: %w", err)
	}
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return nil, fmt.Errorf("open the site's authority: %s/ca.crt or ca.key is not PEM", dir)
	}
	a := &Authority{dir: dir}
	if a.cert, err = x509.ParseCertificate(certBlock.Bytes); err != nil {
		return nil, fmt.Errorf("open the site's authority: %w", err)
	}
	if a.key, err = x509.ParseECPrivateKey(keyBlock.Bytes); err != nil {
		return nil, fmt.Errorf("open the site's authority: %w", err)
	}
	if !a.cert.IsCA {
		return nil, fmt.Errorf("open the site's authority: %s/ca.crt is not an authority's certificate", dir)
	}
	if !a.key.PublicKey.Equal(a.cert.PublicKey) {
		return nil, fmt.Errorf("open the site's authority: %s/ca.key does not belong to ca.crt", dir)
	}
	return a, nil
}

// private refuses a key that others may have read.
func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o): if nobody has copied it, `chmod 600` it; else make a new authority", path, mode)
	}
	return nil
}

// validName also is a file's name, and a common name of at most 64 characters
// (RFC 5280, ub-common-name).
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$`)

// Host makes a host's certificate, for both ends of a connection.
func (a *Authority) Host(name string, addresses ...net.IP) error {
	if err := config.HostName(name); err != nil {
		return fmt.Errorf("make a host's certificate: it cannot be a name in the site file: %w", err)
	}
	return a.issue(name, HostRole, []string{name}, addresses)
}

// Operator makes a person's certificate.
func (a *Authority) Operator(name, role string) error {
	if !slices.Contains(Roles, role) {
		return fmt.Errorf("make the certificate of %s: no role %q, there are %v", name, role, Roles)
	}
	return a.issue(name, role, nil, nil)
}

func (a *Authority) issue(name, role string, names []string, addresses []net.IP) error {
	if !validName.MatchString(name) || strings.EqualFold(name, "ca") {
		return fmt.Errorf("make a certificate: %q cannot be a name: want 1 to 64 of letters, digits, ., _ and -, a letter or digit first, and not ca", name)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the certificate of %s: %w", name, err)
	}
	now := time.Now()
	usage := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if role == HostRole {
		usage = append(usage, x509.ExtKeyUsageServerAuth)
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name, OrganizationalUnit: []string{role}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(leafYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: usage,
		DNSNames: names, IPAddresses: addresses, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return fmt.Errorf("make the certificate of %s: %w", name, err)
	}
	if err := save(a.dir, name, der, key); err != nil {
		return fmt.Errorf("make the certificate of %s: %w", name, err)
	}
	return nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail on Linux
	}
	return n
}

// save writes both files or none, and replaces neither.
func save(dir, name string, der []byte, key *ecdsa.PrivateKey) error {
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	keyPath := filepath.Join(dir, name+".key")
	if err := create(keyPath, "EC PRIVATE KEY", keyDER, 0o600); err != nil {
		return err
	}
	if err := create(filepath.Join(dir, name+".crt"), "CERTIFICATE", der, 0o644); err != nil {
		return errors.Join(err, os.Remove(keyPath))
	}
	return nil
}

func create(path, kind string, der []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists and is not replaced: remove it first if that is meant", path)
	}
	if err != nil {
		return err
	}
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
