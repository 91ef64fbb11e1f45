package console

import (
	"cmp"
	"maps"
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
	"refusals": refusals,
}

const jsonHelp = `With --json everything on standard output is JSON, one object on each line:

  {"version":1,"command":VERB,KIND:VALUE}

KIND is status, guests, explanations, events, accepted, help, release (of version),
check, certificate (of pki), error; for an order that is followed: accepted, then
progress (many), then result; for events --follow: event (many). Guests and
explanations stand behind leader ("" when none is known) and index, the entry of the
log that they are as of; a status has both in it. An order with --dry-run or
--no-wait ends with accepted; trace has progress (many), then trace. The kind error
has code and text: see the topic refusals. Units are in the names of the fields.
Fields may be added; none changes its meaning within a version. run, gateway and
completion do not answer in JSON.
`

const exitHelp = `Exit status:

  0  done; of a move or drain that is followed: the guests have moved
  1  failed, or the move was rolled back; or the following of an order was
     interrupted (the order stands)
  2  the command is not understood
  3  refused, or of a drain, with --dry-run too: a guest stays; the text says what
     would help
`

// rules of the policies, by name.
var rules = map[string]string{
	"precopy":        "send what is dirty, in passes; stop the guest when the rest fits the budget",
	"delayed":        "pages that are dirtied pass after pass wait until they go quiet, or until the switchover",
	"bumpless":       "what the guest writes again waits until the link has no other work, and goes first what is expected to stay as it is for longest; what did not change is dropped, the rest compressed; the default",
	"layered":        "pages are sorted into levels by how often they are dirtied; each level has its own treatment",
	"ar":             "a page is sent when its predicted next write is far enough off",
	"memory-pattern": "a guest that would never converge is recognised from its passes and stopped early",
}

// codes of what is not done, as --json prints them.
var codes = map[string]string{
	"usage":          "the command is not understood (exit status 2)",
	"failed":         "it was tried and failed, or the daemon does not answer (exit status 1)",
	"role":           "the caller's role may not give the order",
	"no-leader":      "the hosts have no leader just now",
	"no-quorum":      "too few hosts would be left in service to decide anything",
	"busy":           "the guest is being traced already",
	"elsewhere":      "the guest runs on another host, which must be asked",
	"malformed":      "the order itself is wrong: a name, a text or a number is out of bounds",
	"unknown":        "no host, guest or move has that name",
	"stale":          "the guest or the move has changed since the order was given: look again",
	"already-there":  "the guest runs on that host",
	"moving":         "the guest is being moved",
	"not-in-service": "the host takes no guests: it is out of service, or a witness",
	"group-shared":   "a partner of the guest's redundancy group is on that host",
	"group-moving":   "a partner is being moved",
	"partner-down":   "a partner does not run",
	"may-still-run":  "another host has not been proved stopped",
	"not-running":    "the guest does not run, or not in exactly one known place",
	"no-room":        "the host has not enough memory for guests",
	"not-allowed":    "the role or the host may not give this order to the log",
	"disk-elsewhere": "what the guest wrote is on another host",
	"full":           "the site has as many hosts or guests as it may have",
}

func refusals() string {
	var rows [][]string
	for _, code := range slices.Sorted(maps.Keys(codes)) {
		rows = append(rows, []string{"  " + code, codes[code]})
	}
	var b strings.Builder
	b.WriteString("Codes of what is not done (`code` of the kind error with --json). All but usage and\nfailed are refusals, exit status 3: nothing was done, and the text says what would help.\n\n")
	table(&b, rows)
	return b.String()
}

func policies() string {
	text := "The policy (move.policy in the site file) decides which pages cross the link\nwhile the guest runs, and when it is stopped. None stops a guest for longer than\nits budget.\n\n"
	var rows [][]string
	for _, name := range policy.Names() {
		rows = append(rows, []string{"  " + name, cmp.Or(rules[name], "see the manual")})
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
			if err == nil && c != root && c.HasSubCommands() && len(rest) > 0 {
				return unknown(c, rest[0], v.prefix)
			}
			if err != nil || c == root || len(rest) > 0 {
				return unknown(root, strings.Join(args, " "), v.prefix)
			}
			return v.page(v.help(c))
		}}
}
