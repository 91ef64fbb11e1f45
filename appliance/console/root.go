package console

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// root makes the tree of commands: the verbs, and more where there are more.
func (v *verbs) root(about string, more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{Use: "bumpless", Short: about, SilenceErrors: true, SilenceUsage: true, Args: cobra.ArbitraryArgs,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}}
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(c, args[0], v.prefix)
		}
		return c.Help()
	}
	root.PersistentFlags().BoolVar(&v.json, "json", false, "print JSON, one object on a line")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return misused("%s; see `%s`", flagProblem(err), helpOn(c, v.prefix))
	})
	root.SetHelpFunc(func(c *cobra.Command, _ []string) {
		_ = v.page(v.help(c)) // cobra has no way to hand it on
	})
	root.AddCommand(v.commands()...)
	root.AddCommand(more...)
	root.SetHelpCommand(v.helpCommand(root))
	root.SetOut(v.screen)
	root.SetErr(v.screen)
	return root
}

// helpOn is the command line that helps with c.
func helpOn(c *cobra.Command, prefix string) string {
	if !c.HasParent() {
		return prefix + "help"
	}
	return prefix + "help " + strings.TrimPrefix(c.CommandPath(), "bumpless ")
}

// parsing is Go's own account of a flag's value that is not of the flag's kind.
var parsing = regexp.MustCompile(`(?s)strconv\.(\w+): parsing .*`)

// wants of values, by the function that reads them.
var wants = map[string]string{"ParseUint": "want a whole number of 0 or more", "ParseInt": "want a whole number", "ParseBool": "want true or false"}

// flagProblem says what is wrong with a flag in the operator's terms.
func flagProblem(err error) string {
	m := parsing.FindStringSubmatch(err.Error())
	if m == nil {
		return err.Error()
	}
	return strings.Replace(err.Error(), m[0], cmp.Or(wants[m[1]], "not of its kind"), 1)
}

// unknown verb: the nearest ones are offered.
func unknown(root *cobra.Command, verb, prefix string) error {
	root.SuggestionsMinimumDistance = 2
	near := root.SuggestionsFor(verb)
	if len(near) > 0 {
		return misused("no command %q; did you mean %s?", verb, strings.Join(near, " or "))
	}
	var names []string
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return misused("no command %q; there are %s (see `%s`)", verb, strings.Join(names, ", "), helpOn(root, prefix))
}

// execute runs one command and returns its exit status. Errors go to errs, with
// --json to the screen.
func (v *verbs) execute(ctx context.Context, root *cobra.Command, args []string, errs *Screen) int {
	root.SetArgs(args)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		return Done
	}
	// A flag that is not understood may stand before --json.
	v.json = v.json || slices.Contains(args, "--json")
	return v.report(c.Name(), err, errs)
}

// page shows a page of help.
func (v *verbs) page(text string) error {
	return v.answer("help", "help", text, func() { v.screen.Print(text) })
}

// help is a command's own page, or the overview.
func (v *verbs) help(c *cobra.Command) string {
	text := c.Short + "\n\n"
	if c.Long != "" {
		text += c.Long + "\n\n"
	}
	if !c.HasParent() {
		text = c.Short + "\n\n" + v.overview(c)
	} else {
		text += "usage: " + v.prefix + strings.TrimPrefix(c.CommandPath()+strings.TrimPrefix(c.Use, c.Name()), "bumpless ") + "\n"
		for _, sub := range c.Commands() {
			text += fmt.Sprintf("  %-28s %s\n", sub.Use, sub.Short)
		}
	}
	if f := c.LocalFlags().FlagUsages(); f != "" {
		text += "\n" + f
	}
	if f := c.InheritedFlags().FlagUsages(); f != "" {
		text += "\n" + f
	}
	return text
}

func (v *verbs) overview(root *cobra.Command) string {
	var text strings.Builder
	for _, c := range root.Commands() {
		if c.IsAvailableCommand() {
			fmt.Fprintf(&text, "  %-18s %s\n", c.Use, c.Short)
		}
	}
	if v.prefix == "" { // the serial console, whose session ends by a word
		fmt.Fprintf(&text, "  %-18s %s\n  %-18s %s\n", "help [TOPIC]", "about a command or a topic", "exit", "end the session; so does Ctrl-D")
	}
	fmt.Fprintf(&text, "\n`%shelp COMMAND` says more; there is help on %s too\n", v.prefix, strings.Join(topicNames(), ", "))
	return text.String()
}
