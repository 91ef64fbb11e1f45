package gateway

import "errors"

// brokenLink is why a move ends that may get through over another LAN: a connection
// broke, or does not get through. Whatever else ends a move would end it again.
type brokenLink struct{ error }

func (e brokenLink) Unwrap() error { return e.error }

func isLink(err error) bool {
	var broken brokenLink
	return errors.As(err, &broken)
}
