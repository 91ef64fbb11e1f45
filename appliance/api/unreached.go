package api

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"syscall"
)

// unreached says why a daemon did not answer, and what the caller can look at.
// The HTTP client's own words about methods and addresses help nobody.
func (c *Client) unreached(verb string, err error) error {
	switch {
	case c.socket != "" && errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("only root may use %s: be root, or say --host NAME --cert FILE", c.socket)
	case c.socket != "" && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)):
		return fmt.Errorf("the daemon of this host does not answer (%s): systemctl status bumpless; or ask another: --host NAME --cert FILE", c.socket)
	}
	if mistrust := c.mistrust(err); mistrust != nil {
		return mistrust
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Errorf("%s on %s: %w", verb, c.name, err)
}

// mistrust is about certificates that one side did not take from the other, nil
// when that was not it.
func (c *Client) mistrust(err error) error {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%s's certificate is not of %s: is --ca this site's?", c.name, cmp.Or(c.ca, "the site's authority"))
	}
	var failed *tls.CertificateVerificationError
	if errors.As(err, &failed) {
		return fmt.Errorf("%s's certificate is not taken: %w", c.name, failed.Err)
	}
	// The other side's alert (RFC 8446, 6.2) is a type that crypto/tls keeps to
	// itself. A client has no certificate to show when its own is of none of the
	// authorities that the server names.
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" {
		return nil
	}
	mine, said := cmp.Or(c.cert, "this certificate"), strings.TrimPrefix(alert.Err.Error(), "tls: ")
	switch said {
	case "certificate required", "unknown certificate authority":
		return fmt.Errorf("%s does not take %s: it is not of this site's authority", c.name, mine)
	}
	if !strings.Contains(said, "certificate") {
		return nil
	}
	return fmt.Errorf("%s does not take %s: %s", c.name, mine, said)
}
