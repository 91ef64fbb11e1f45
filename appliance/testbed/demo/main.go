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
	"path/filepath"
	"time"

	"bumpless/appliance/testbed"
)

// wholeDemo bounds the run: it takes about a minute on two quiet cores.
const wholeDemo = 10 * time.Minute

func main() {
	testbed.Enter()
	tool := testbed.NewTool("out", "demo.json and demo.html")
	flag.Parse()
	tool.Main("demo: FAILED", func(ctx context.Context, dir string) error {
		ctx, cancel := context.WithTimeout(ctx, wholeDemo)
		defer cancel()
		return run(ctx, tool, dir)
	})
}

func run(ctx context.Context, t *testbed.Tool, dir string) error {
	s, err := newStory(ctx, dir, t.Binary, t.Cache)
	if err != nil {
		return err
	}
	defer s.close()
	told := s.tell()
	if err := s.cluster.SaveLogs(t.Out, "demo"); err != nil {
		return err
	}
	// What was measured is written even if a promise was broken.
	if err := s.result.write(t.Out); err != nil {
		return err
	}
	if err := s.record.write(t.Out, s.result); err != nil {
		return err
	}
	s.result.print(os.Stdout)
	if told != nil {
		return told
	}
	if err := s.result.judge(); err != nil {
		return err
	}
	fmt.Printf("\nEvery promise was kept. The figures are in %s, the timeline in %s.\n", filepath.Join(t.Out, "demo.json"), filepath.Join(t.Out, "demo.html"))
	return nil
}
