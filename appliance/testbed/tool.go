package testbed

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// Tool is what the test bed's programs (bench, faults, demo) have in common.
type Tool struct {
	Out, Binary, Cache string
}

// NewTool declares the flags -out, -binary and -cache.
func NewTool(out, writes string) *Tool {
	t := &Tool{}
	flag.StringVar(&t.Out, "out", out, "folder for "+writes)
	flag.StringVar(&t.Binary, "binary", "out/bumpless", "the program")
	flag.StringVar(&t.Cache, "cache", "out/cache", "folder of the protection guest (make guest)")
	return t
}

// Main does the work until it ends or the program is interrupted, and exits with
// status 1 if it fails. Call it behind flag.Parse; the work has a folder for files
// that are of no use afterwards.
func (t *Tool) Main(failed string, work func(ctx context.Context, dir string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := t.run(ctx, work); err != nil {
		fmt.Fprintln(os.Stderr, failed+":", err)
		os.Exit(1)
	}
}

func (t *Tool) run(ctx context.Context, work func(ctx context.Context, dir string) error) error {
	// Hosts have working folders of their own.
	for _, path := range []*string{&t.Out, &t.Binary, &t.Cache} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	dir, err := os.MkdirTemp("", "bumpless-") // short: a socket's path has 108 bytes
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return work(ctx, dir)
}
