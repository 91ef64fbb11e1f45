package console

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"bumpless/appliance/config"
)

// DefaultSite is where the site file lies, unless --site or BUMPLESS_SITE says
// otherwise.
const DefaultSite = "/etc/bumpless/site.yaml"

// Program is `bumpless`, with what its parts bring.
type Program struct {
	Version string
	// Run is a host's daemon; it returns when ctx ends.
	Run func(ctx context.Context, site config.Site, host string, log *slog.Logger) error
	// Gateway is one end of a move; it returns the exit status.
	Gateway func(role string, in io.Reader, out io.Writer) int
	// WaitingPeriod says what the site's waiting period consists of, or which
	// inequality of its times does not hold.
	WaitingPeriod func(config.Site) (string, error)
	// WaitingPeriodS is its length, in seconds.
	WaitingPeriodS func(config.Site) float64
	// Socket of the daemon of this host.
	Socket func(config.Site) string

	In       io.Reader
	Out, Err io.Writer
}

// Main runs one command line, without the program's name, and returns the exit
// status. ctx ends when the user or the system wants the program to end.
func (p Program) Main(ctx context.Context, args []string) int {
	t := &target{program: p, ctx: ctx}
	v := &verbs{screen: screenOn(p.Out), prefix: "bumpless ", open: t.open}
	root := v.root("moves virtual machines between a substation's servers within a hard downtime budget", p.commands(v, t)...)
	errs := screenOn(p.Err)
	if err := t.addFlags(root); err != nil {
		return v.report("bumpless", err, errs)
	}
	return v.execute(ctx, root, args, errs)
}

// screenOn finds out whether w is a terminal.
func screenOn(w io.Writer) *Screen {
	s := &Screen{Out: w, Now: time.Now}
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return s
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err == nil {
		s.Rewrite, s.Columns = true, int(size.Col)
	}
	return s
}
