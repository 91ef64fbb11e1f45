package console

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"bumpless/appliance/api"
)

// completeWait bounds completion: a shell, and a person, waits for it.
const completeWait = 2 * time.Second

// complete offers names that the daemon knows, for each argument in turn.
func (v *verbs) complete(each ...func(api.Status) []string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(each) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		b, err := v.open()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx := c.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completeWait)
		defer cancel()
		s, err := b.Status(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return each[len(args)](s), cobra.ShellCompDirectiveNoFileComp
	}
}
