package console

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"bumpless/appliance/api"
)

// callWait bounds a question or an order; followWait is the time between two
// looks at the log.
const (
	callWait   = 30 * time.Second
	followWait = time.Second
)

// verbs is the operator's grammar, for one command.
type verbs struct {
	// open reaches the daemon; it is called once a command is understood.
	open   func() (api.Backend, error)
	screen *Screen
	json   bool
	// prefix of a command in advice: "bumpless " on the command line.
	prefix string
}

// commands of the grammar.
func (v *verbs) commands() []*cobra.Command {
	return []*cobra.Command{v.statusCommand(), v.guestsCommand(), v.moveCommand(), v.drainCommand(), v.resumeCommand(), v.explainCommand(), v.eventsCommand()}
}

// call runs do with the backend and a bounded time.
func (v *verbs) call(ctx context.Context, do func(context.Context, api.Backend) error) error {
	b, err := v.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	return do(ctx, b)
}

// status asks for it; its lists are never null, for those who read JSON.
func (v *verbs) status(ctx context.Context, b api.Backend) (api.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	s, err := b.Status(ctx)
	if s.Hosts == nil {
		s.Hosts = []api.HostStatus{}
	}
	if s.Guests == nil {
		s.Guests = []api.Guest{}
	}
	return s, err
}

// answer prints value as JSON, or with print.
func (v *verbs) answer(command, kind string, value any, print func()) error {
	if v.json {
		return v.screen.Emit(command, kind, value)
	}
	print()
	return nil
}

func (v *verbs) statusCommand() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "the site as this host knows it: hosts, guests, lease, waiting period", Args: nothingMore,
		RunE: func(c *cobra.Command, _ []string) error {
			return v.call(c.Context(), func(ctx context.Context, b api.Backend) error {
				s, err := v.status(ctx, b)
				if err != nil {
					return err
				}
				return v.answer("status", "status", s, func() { printStatus(v.screen, s) })
			})
		}}
}

func (v *verbs) guestsCommand() *cobra.Command {
	return &cobra.Command{Use: "guests", Short: "the guests: where they run, their budgets, moves in progress", Args: nothingMore,
		RunE: func(c *cobra.Command, _ []string) error {
			return v.call(c.Context(), func(ctx context.Context, b api.Backend) error {
				s, err := v.status(ctx, b)
				if err != nil {
					return err
				}
				return v.answerAsOf("guests", s, "guests", s.Guests, func() { printGuests(v.screen, s.Guests) })
			})
		}}
}

func (v *verbs) explainCommand() *cobra.Command {
	return &cobra.Command{Use: "explain [GUEST]", Short: "why a guest is where it is, and what would move it", Args: atMost("GUEST"),
		ValidArgsFunction: v.complete(guestNames),
		RunE: func(c *cobra.Command, args []string) error {
			r := api.ExplainRequest{}
			if len(args) == 1 {
				r.Guest = args[0]
			}
			return v.call(c.Context(), func(ctx context.Context, b api.Backend) error {
				s, err := v.status(ctx, b)
				if err != nil {
					return err
				}
				list := []api.Explanation{}
				if s.Index > 0 { // no guest is known by name before
					list, err = b.Explain(ctx, r)
				}
				if err != nil {
					return err
				}
				return v.answerAsOf("explain", s, "explanations", list, func() {
					for _, e := range list {
						v.screen.Printf("%s: %s\n", e.Guest, e.Text)
					}
				})
			})
		}}
}

func (v *verbs) eventsCommand() *cobra.Command {
	var after uint64
	var follow bool
	c := &cobra.Command{Use: "events", Short: "what was ordered and decided, from the replicated log", Args: nothingMore,
		RunE: func(c *cobra.Command, _ []string) error {
			if follow {
				return v.followEvents(c.Context(), after)
			}
			return v.call(c.Context(), func(ctx context.Context, b api.Backend) error {
				list, err := b.Events(ctx, api.EventsRequest{After: after})
				if err != nil {
					return err
				}
				return v.answer("events", "events", list, func() {
					for _, e := range list {
						printEvent(v.screen, e)
					}
				})
			})
		}}
	c.Flags().Uint64Var(&after, "after", 0, "only events after this `entry` of the log, 0 or more; the log keeps the newest 512")
	c.Flags().BoolVar(&follow, "follow", false, "go on until interrupted")
	return c
}

// followEvents looks again and again until ctx ends.
func (v *verbs) followEvents(ctx context.Context, after uint64) error {
	b, err := v.open()
	if err != nil {
		return err
	}
	for {
		list, err := b.Events(ctx, api.EventsRequest{After: after})
		if ctx.Err() != nil {
			return nil // the way to end it
		}
		if err != nil {
			return err
		}
		for _, e := range list {
			after = max(after, e.Index)
			if err := v.answer("events", "event", e, func() { printEvent(v.screen, e) }); err != nil {
				return err
			}
		}
		select {
		case <-time.After(followWait):
		case <-ctx.Done():
			return nil
		}
	}
}

// nothingMore refuses arguments.
func nothingMore(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misused("%s takes no argument, got %q", c.Name(), args)
	}
	return nil
}

// atMost refuses more arguments than names.
func atMost(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > len(names) {
			return misused("%s takes %v, got %q too", c.Name(), names, args[len(names):])
		}
		return nil
	}
}

// report shows an error and returns the exit status.
func (v *verbs) report(command string, err error, errs *Screen) int {
	var e *ended
	if errors.As(err, &e) {
		return e.status
	}
	status, refusal := verdict(err)
	if v.json {
		if v.screen.Emit(command, "error", refusal) == nil {
			return status
		}
	}
	kind := map[int]string{Refused: "refused: "}[status]
	errs.Printf("%s%s\n", kind, refusal.Text)
	return status
}
