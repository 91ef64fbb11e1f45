package console

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bumpless/migrate/policy"
)

// topics of help that are not commands.
var topics = map[string]func() string{
	"policies": policies,
	"json":     func() string { return jsonHelp },
	"exit":     func() string { return exitHelp },
}

const jsonHelp = `With --json everything on standard output is JSON, one object on each line:

  {"version":1,"command":VERB,KIND:VALUE}

KIND is status, guests, explanations, events, accepted, error; for an order that
is followed: accepted, then progress (many), then result; for events --follow:
event (many). Guests and explanations stand behind leader ("" when none is known)
and index, the entry of the log that they are as of; a status has both in it. An order with --dry-run or --no-wait ends with accepted; trace has
progress (many), then trace. The kind error has code ("usage", "failed", or the code of a refusal) and text. Units are
in the names of the fields. Fields may be added; none changes its meaning within
a version.
`

const exitHelp = `Exit status:

  0  done; of a move or drain that is followed: the guests have moved
  1  failed, or the move was rolled back
  2  the command is not understood
  3  refused, or of a drain, with --dry-run too: a guest stays; the text says what
     would help
`

// rules of the policies, by name.
var rules = map[string]string{
	"precopy":        "send what is dirty, in passes; stop the guest when the rest fits the budget",
	"delayed":        "pages that are dirtied pass after pass wait until they go quiet, or until the switchover",
	"bumpless":       "layered, and hot pages go when no write is due; what did not change is dropped, the rest compressed; the default",
	"layered":        "pages are sorted into levels by how often they are dirtied; each level has its own treatment",
	"ar":             "a page is sent when its predicted next write is far enough off",
	"memory-pattern": "a guest that would never converge is recognised from its passes and stopped early",
}

func policies() string {
	text := "The policy (move.policy in the site file) decides which pages cross the link\nwhile the guest runs, and when it is stopped. None stops a guest for longer than\nits budget.\n\n"
	var rows [][]string
	for _, name := range policy.Names() {
		rows = append(rows, []string{"  " + name, or(rules[name], "see the manual")})
	}
	var b strings.Builder
	table(&b, rows)
	return text + b.String()
}

func topicNames() (list []string) {
	for name := range topics {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

func (v *verbs) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{Use: "help [TOPIC]", Short: "about a command or a topic",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			list := topicNames()
			for _, c := range root.Commands() {
				list = append(list, c.Name())
			}
			return list, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return v.page(v.help(root))
			}
			if topic, ok := topics[args[0]]; ok {
				return v.page(topic())
			}
			c, rest, err := root.Find(args)
			if err != nil || c == root || len(rest) > 0 {
				return unknown(root, strings.Join(args, " "), v.prefix)
			}
			return v.page(v.help(c))
		}}
}
