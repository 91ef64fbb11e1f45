package console

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bumpless/appliance/pki"
)

// commands that the command line has and the serial console has not.
func (p Program) commands(v *verbs, t *target) []*cobra.Command {
	return []*cobra.Command{v.traceCommand(), p.runCommand(t), p.gatewayCommand(), p.checkCommand(v, t), p.pkiCommand(v), p.versionCommand(v), p.completionCommand()}
}

func (p Program) runCommand(t *target) *cobra.Command {
	level, format := "info", "text"
	c := &cobra.Command{Use: "run --host NAME", Short: "be the daemon of a host; guests live on when it ends", Args: nothingMore,
		Long: "--host NAME is required here: the name that this machine has in the site file.",
		RunE: func(c *cobra.Command, _ []string) error {
			site, err := t.load()
			if err != nil {
				return err
			}
			if _, ok := site.Host(t.host); !ok {
				return misused("run: say --host NAME, one of %s", strings.Join(named(site), ", "))
			}
			handler, err := p.logTo(level, format)
			if err != nil {
				return err
			}
			return p.Run(c.Context(), site, t.host, slog.New(handler))
		}}
	c.Flags().StringVar(&level, "log-level", level, "debug, info, warn or error")
	c.Flags().StringVar(&format, "log-format", format, "text or json")
	return c
}

func (p Program) logTo(level, format string) (slog.Handler, error) {
	o := &slog.HandlerOptions{}
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, misused("--log-level %q, want debug, info, warn or error", level)
	}
	o.Level = l
	switch format {
	case "text":
		return slog.NewTextHandler(p.Err, o), nil
	case "json":
		return slog.NewJSONHandler(p.Err, o), nil
	}
	return nil, misused("--log-format %q, want text or json", format)
}

func (p Program) gatewayCommand() *cobra.Command {
	return &cobra.Command{Use: "gateway source|destination|trace", Short: "one end of a move, or a recording (started by the daemon)", Hidden: true,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains([]string{"source", "destination", "trace"}, args[0]) {
				return misused("gateway: say `bumpless gateway source`, `bumpless gateway destination` or `bumpless gateway trace`")
			}
			if status := p.Gateway(args[0], p.In, p.Out); status != 0 {
				return &ended{status}
			}
			return nil
		}}
}

func (p Program) checkCommand(v *verbs, t *target) *cobra.Command {
	return &cobra.Command{Use: "check", Short: "check the site file, and print the waiting period", Args: nothingMore,
		Long: "It reads the file, and nothing else: not whether this machine has the addresses, the\nbridge, the watchdog or the guests' files that the file names.",
		RunE: func(*cobra.Command, []string) error {
			site, err := t.load()
			if err != nil {
				return err
			}
			period, err := p.WaitingPeriod(site)
			if err != nil {
				return fmt.Errorf("site file %s: %w", t.sitePath(), err)
			}
			checked := map[string]any{"file": t.sitePath(), "site": site.Site, "hosts": len(site.Hosts), "guests": len(site.Guests), "waiting_period": period, "waiting_period_s": p.WaitingPeriodS(site)}
			return v.answer("check", "check", checked, func() {
				v.screen.Printf("%s: site %s, %d hosts, %d guests\n%s\n", t.sitePath(), site.Site, len(site.Hosts), len(site.Guests), period)
			})
		}}
}

func (p Program) versionCommand(v *verbs) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "of this program", Args: nothingMore,
		RunE: func(*cobra.Command, []string) error {
			return v.answer("version", "release", p.Version, func() { v.screen.Printf("bumpless %s\n", p.Version) })
		}}
}

func (p Program) pkiCommand(v *verbs) *cobra.Command {
	made := func(dir, name string) error {
		file := dir + "/" + name + ".crt"
		return v.answer("pki", "certificate", file, func() { v.screen.Printf("made %s and its key\n", file) })
	}
	c := &cobra.Command{Use: "pki", Short: "make the site's certificates", Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(c, args[0], v.prefix)
			}
			return c.Help()
		}}
	c.AddCommand(
		&cobra.Command{Use: "init DIR SITE", Short: "make the site's authority; its key belongs in a safe", Args: between(2, 2),
			RunE: func(_ *cobra.Command, args []string) error {
				if _, err := pki.Init(args[0], args[1]); err != nil {
					return err
				}
				return made(args[0], "ca")
			}},
		&cobra.Command{Use: "host DIR NAME [IP..]", Short: "make a host's certificate", Args: between(2, 18),
			RunE: func(_ *cobra.Command, args []string) error {
				addresses, err := parseIPs(args[2:])
				if err != nil {
					return err
				}
				a, err := pki.Open(args[0])
				if err != nil {
					return err
				}
				if err := a.Host(args[1], addresses...); err != nil {
					return err
				}
				return made(args[0], args[1])
			}},
		&cobra.Command{Use: "operator DIR NAME ROLE", Short: "make a person's certificate; ROLE is one of " + strings.Join(pki.Roles, ", "), Args: between(3, 3),
			RunE: func(_ *cobra.Command, args []string) error {
				a, err := pki.Open(args[0])
				if err != nil {
					return err
				}
				if err := a.Operator(args[1], args[2]); err != nil {
					return err
				}
				return made(args[0], args[1])
			}})
	return c
}

func between(low, high int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return misused("say `%s`, got %d arguments", c.Parent().CommandPath()+" "+c.Use, len(args))
		}
		return nil
	}
}

func parseIPs(words []string) (list []net.IP, err error) {
	for _, w := range words {
		ip := net.ParseIP(w)
		if ip == nil {
			return nil, misused("%q is not an IP address", w)
		}
		list = append(list, ip)
	}
	return list, nil
}

func (p Program) completionCommand() *cobra.Command {
	return &cobra.Command{Use: "completion SHELL", Short: "a script that completes commands and names in bash, zsh or fish", ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(c *cobra.Command, args []string) error {
			shell := ""
			if len(args) == 1 {
				shell = args[0]
			}
			// The scripts hold tabs and are not for a person: past the Screen.
			switch out := p.Out; shell {
			case "bash":
				return c.Root().GenBashCompletionV2(out, true)
			case "zsh":
				return c.Root().GenZshCompletion(out)
			case "fish":
				return c.Root().GenFishCompletion(out, true)
			}
			return misused("completion: say bash, zsh or fish")
		}}
}
