// Command demo shows the main job on real guests: three hosts come up, a guest
// is drained off one of them over a serial console, a second move is rolled
// back because its link stalls, and a power cut is survived. Everything that it
// prints was measured from outside the guest.
//
// It writes demo.json (see Result) and demo.html, and ends with status 0 only
// if every promise was kept.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"bumpless/appliance/testbed"
)

// wholeDemo bounds the run: it takes about a minute on two quiet cores.
const wholeDemo = 10 * time.Minute

func main() {
	testbed.Enter()
	out := flag.String("out", "out", "folder for demo.json and demo.html")
	binary := flag.String("binary", "out/bumpless", "the program")
	cache := flag.String("cache", "out/cache", "folder of the protection guest (make guest)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, wholeDemo)
	defer cancel()
	if err := run(ctx, *out, *binary, *cache); err != nil {
		fmt.Fprintln(os.Stderr, "demo: FAILED:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, binary, cache string) error {
	for _, path := range []*string{&out, &binary, &cache} {
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
	s, err := newStory(ctx, dir, binary, cache)
	if err != nil {
		return err
	}
	defer s.close()
	told := s.tell()
	if err := s.cluster.SaveLogs(out, "demo"); err != nil {
		return err
	}
	// What was measured is written even if a promise was broken.
	if err := s.result.write(out); err != nil {
		return err
	}
	if err := s.record.write(out, s.result); err != nil {
		return err
	}
	s.result.print(os.Stdout)
	if told != nil {
		return told
	}
	if err := s.result.judge(); err != nil {
		return err
	}
	fmt.Printf("\nEvery promise was kept. The figures are in %s, the timeline in %s.\n", filepath.Join(out, "demo.json"), filepath.Join(out, "demo.html"))
	return nil
}
