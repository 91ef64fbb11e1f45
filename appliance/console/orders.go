package console

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bumpless/appliance/api"
	"bumpless/ha/core"
)

// orderFlags are common to orders.
type orderFlags struct {
	reason         string
	dryRun, noWait bool
}

func (o *orderFlags) add(c *cobra.Command, follows bool) {
	c.Flags().StringVar(&o.reason, "reason", "", fmt.Sprintf("why, for the log; a `text` of at most %d bytes", core.MaxText))
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "say what would happen, and do nothing")
	if follows {
		c.Flags().BoolVar(&o.noWait, "no-wait", false, "do not follow the order to its end")
	}
}

func (v *verbs) moveCommand() *cobra.Command {
	var o orderFlags
	var insist bool
	c := &cobra.Command{Use: "move GUEST HOST", Short: "move a guest to a host within its downtime budget", Args: atMost("GUEST", "HOST"),
		ValidArgsFunction: v.complete(guestNames, serverNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := v.need(c, args, wanted{"GUEST", guestNames}, wanted{"HOST", serverNames}); err != nil {
				return err
			}
			r := api.MoveRequest{Guest: args[0], To: args[1], Reason: o.reason, Insist: insist, DryRun: o.dryRun}
			return v.order(c.Context(), "move", o, func(ctx context.Context, b api.Backend) (api.Accepted, api.ProgressRequest, error) {
				a, err := b.Move(ctx, api.Caller{}, r)
				return a, api.ProgressRequest{Move: a.Move}, err
			})
		}}
	o.add(c, true)
	c.Flags().BoolVar(&insist, "insist", false, "although its partner does not run (role ENGINEER); never onto its partner's host")
	return c
}

func (v *verbs) drainCommand() *cobra.Command {
	var o orderFlags
	var insist bool
	c := &cobra.Command{Use: "drain HOST", Short: "take a host out of service: its guests are moved away", Args: atMost("HOST"),
		ValidArgsFunction: v.complete(hostNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := v.need(c, args, wanted{"HOST", hostNames}); err != nil {
				return err
			}
			r := api.HostRequest{Host: args[0], Reason: o.reason, Insist: insist, DryRun: o.dryRun}
			return v.order(c.Context(), "drain", o, func(ctx context.Context, b api.Backend) (api.Accepted, api.ProgressRequest, error) {
				a, err := b.Drain(ctx, api.Caller{}, r)
				return a, api.ProgressRequest{Host: r.Host}, err
			})
		}}
	o.add(c, true)
	c.Flags().BoolVar(&insist, "insist", false, "although fewer hosts than a quorum are left in service (role ENGINEER)")
	return c
}

func (v *verbs) resumeCommand() *cobra.Command {
	var o orderFlags
	c := &cobra.Command{Use: "resume HOST", Short: "take a host back into service", Args: atMost("HOST"),
		ValidArgsFunction: v.complete(hostNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := v.need(c, args, wanted{"HOST", hostNames}); err != nil {
				return err
			}
			r := api.HostRequest{Host: args[0], Reason: o.reason, DryRun: o.dryRun}
			return v.order(c.Context(), "resume", o, func(ctx context.Context, b api.Backend) (api.Accepted, api.ProgressRequest, error) {
				a, err := b.Resume(ctx, api.Caller{}, r)
				return a, api.ProgressRequest{}, err
			})
		}}
	o.add(c, false)
	return c
}

// order gives one, shows the answer, and follows it when there is something to
// follow.
func (v *verbs) order(ctx context.Context, command string, o orderFlags, give func(context.Context, api.Backend) (api.Accepted, api.ProgressRequest, error)) error {
	b, err := v.open()
	if err != nil {
		return err
	}
	giving, cancel := context.WithTimeout(ctx, callWait)
	defer cancel()
	a, follow, err := give(giving, b)
	if err != nil {
		return err
	}
	err = v.answer(command, "accepted", a, func() {
		v.screen.Printf("%s\n", a.Text)
		for _, line := range a.Plan {
			v.screen.Printf("  %s\n", line)
		}
	})
	if err == nil && o.dryRun && a.Stays > 0 {
		return &ended{Refused} // it would not come to its end
	}
	if err != nil || o.dryRun || o.noWait || follow == (api.ProgressRequest{}) {
		return err
	}
	return v.follow(ctx, b, command, follow)
}

// wanted is an argument, with the names that it can be.
type wanted struct {
	name  string
	names func(api.Status) []string
}

// need refuses a command with arguments missing, and lists what they could be
// where the daemon answers.
func (v *verbs) need(c *cobra.Command, args []string, all ...wanted) error {
	for i, w := range all {
		if i < len(args) && args[i] != "" {
			continue
		}
		text := fmt.Sprintf("%s: %s is missing; say `%s%s`", c.Name(), w.name, v.prefix, c.Use)
		if b, err := v.open(); err == nil {
			if s, err := v.status(c.Context(), b); err == nil {
				text += fmt.Sprintf(", %s is one of: %s", w.name, cmp.Or(strings.Join(w.names(s), ", "), "none is known"))
			}
		}
		return &misuse{text}
	}
	return nil
}

func guestNames(s api.Status) (list []string) {
	for _, g := range s.Guests {
		list = append(list, g.Name)
	}
	return list
}

func hostNames(s api.Status) (list []string) {
	for _, h := range s.Hosts {
		list = append(list, h.Name)
	}
	return list
}

func serverNames(s api.Status) (list []string) {
	for _, h := range s.Hosts {
		if h.Role == "server" {
			list = append(list, h.Name)
		}
	}
	return list
}
