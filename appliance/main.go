// Bumpless moves virtual machines between the redundant servers of a substation
// within a hard downtime budget, and never runs one twice.
//
// This is the one place where the parts meet: package node is the daemon,
// migrate/gateway one end of a move, console what a person types.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"bumpless/appliance/config"
	"bumpless/appliance/console"
	"bumpless/appliance/node"
	"bumpless/migrate/gateway"
	"bumpless/watchdog/dev"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	// A second signal ends the program at once. A gateway takes no notice of the
	// first: when the host is shut down it has a guest in its hands, and the end
	// of its daemon (its standard input) tells it in time.
	context.AfterFunc(ctx, stop)
	outliveReaders()
	if len(args) == 3 && args[0] == node.HolderVerb {
		return holdWatchdog(args[1], args[2])
	}
	p := console.Program{
		Version: version(),
		Run: func(ctx context.Context, site config.Site, host string, log *slog.Logger) error {
			return node.Run(ctx, node.Options{Site: site, Host: host, Log: log})
		},
		Gateway:       gateway.Main,
		WaitingPeriod: node.WaitingPeriod, WaitingPeriodS: node.WaitingPeriodS,
		Socket: node.SocketPath,
		In:     os.Stdin, Out: os.Stdout, Err: os.Stderr,
	}
	return p.Main(ctx, args)
}

// holdWatchdog is the process that the daemon starts to keep its watchdog's
// device open; it is no command for people.
func holdWatchdog(socket, device string) int {
	if err := dev.Hold(socket, device); err != nil {
		fmt.Fprintln(os.Stderr, "bumpless:", err)
		return 1
	}
	return 0
}

// outliveReaders keeps a write to a closed standard output from being the end
// of the program: a gateway that has committed must carry on when its daemon
// dies, and a daemon when its log reader does. It is Notify and not Ignore,
// which QEMU would inherit.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
