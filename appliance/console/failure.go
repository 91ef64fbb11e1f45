package console

import (
	"context"
	"errors"
	"fmt"

	"bumpless/appliance/api"
)

// Exit statuses.
const (
	Done    = 0
	Failed  = 1
	Misused = 2
	Refused = 3
)

// misuse is a command that is not understood. Its text says what would be.
type misuse struct{ text string }

func (m *misuse) Error() string { return m.text }

func misused(format string, args ...any) error { return &misuse{fmt.Sprintf(format, args...)} }

// ended is an order whose end has been shown already.
type ended struct{ status int }

func (e *ended) Error() string { return fmt.Sprintf("exit status %d", e.status) }

// verdict of an error: the exit status, and what --json says of it.
func verdict(err error) (int, api.Refusal) {
	var m *misuse
	var r *api.Refusal
	switch {
	case errors.As(err, &m):
		return Misused, api.Refusal{Code: "usage", Text: m.text}
	case errors.As(err, &r):
		return Refused, *r
	case errors.Is(err, context.Canceled):
		return Failed, api.Refusal{Code: "failed", Text: "interrupted"}
	}
	return Failed, api.Refusal{Code: "failed", Text: err.Error()}
}
