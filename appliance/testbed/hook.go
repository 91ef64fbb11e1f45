package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// The site's before_stop program lets the bed do something at the last moment
// before a guest is stopped: it asks by a file, and goes on when the bed has
// answered by another one. Without somebody who waits it does nothing.
const hookScript = `#!/bin/sh
[ -e %[1]s/hook-armed ] || exit 0
: >%[1]s/hook-asked
n=0
while [ ! -e %[1]s/hook-answered ]; do
  n=$((n+1)); [ $n -gt 400 ] && exit 1
  sleep 0.01
done
`

func (c *Cluster) hookPath() string { return filepath.Join(c.options.Dir, "before-stop") }

func (c *Cluster) writeHook() error {
	if err := os.WriteFile(c.hookPath(), []byte(fmt.Sprintf(hookScript, c.options.Dir)), 0o700); err != nil {
		return fmt.Errorf("write the before_stop program: %w", err)
	}
	return nil
}

// BeforeStop arms the hook: act is called when the next guest is about to be
// stopped. The channel brings its error, or that of ctx.
func (c *Cluster) BeforeStop(ctx context.Context, act func() error) (<-chan error, error) {
	flag := func(name string) string { return filepath.Join(c.options.Dir, "hook-"+name) }
	for _, name := range []string{"asked", "answered"} {
		if err := os.Remove(flag(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if err := os.WriteFile(flag("armed"), nil, 0o600); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		defer os.Remove(flag("armed"))
		for ctx.Err() == nil {
			if _, err := os.Stat(flag("asked")); err == nil {
				err = act()
				os.Remove(flag("armed"))
				done <- errors.Join(err, os.WriteFile(flag("answered"), nil, 0o600))
				return
			}
			time.Sleep(time.Millisecond)
		}
		done <- ctx.Err()
	}()
	return done, nil
}
