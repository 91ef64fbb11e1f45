package gateway

import (
	"context"
	"fmt"
	"time"
)

// limit is a time that a move had, and that is over. It takes the place of Go's
// "context deadline exceeded", which does not say which.
type limit struct{ what string }

func (l limit) Error() string { return l.what + " is over" }

// Is makes a limit count as what it stands for.
func (limit) Is(target error) bool { return target == context.DeadlineExceeded }

// limited is a context that ends after d at the latest, with a limit as its cause.
func limited(ctx context.Context, d time.Duration, format string, args ...any) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, limit{fmt.Sprintf(format, args...)})
}
