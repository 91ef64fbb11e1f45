package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"bumpless/appliance/testbed/protection"
)

// load is made of real programs. Its server, if it has one, runs all the time;
// prepare is done once it answers, and round again and again.
type load struct {
	setUp   func() error
	server  []string
	answers []string // succeeds when the server answers
	prepare [][]string
	round   [][]string
	// result of a round, the same each time; nil: only the exit status counts.
	result func() ([]byte, error)
}

// loads by name; cases.go of the bench says what each dirties.
var loads = map[string]func() load{
	protection.LoadRedis: func() load {
		const socket = "/tmp/redis.sock"
		return load{
			// A cache: nothing is saved, so that no snapshot falls into one run of
			// a bench and not into another.
			server:  []string{"/usr/bin/redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", "/tmp"},
			answers: []string{"/usr/bin/redis-cli", "-s", socket, "ping"},
			// The rounds write to keys that are there: the data does not grow while a
			// bench compares one method with another.
			prepare: [][]string{{"/usr/bin/redis-benchmark", "-s", socket, "-t", "set,incr,hset", "-r", "50000", "-n", "150000", "-d", "256", "-P", "16", "-q"}},
			round:   [][]string{{"/usr/bin/redis-benchmark", "-s", socket, "-t", "set,get,incr,lpush,rpop,hset", "-r", "50000", "-n", "10000", "-d", "256", "-q"}},
		}
	},
	protection.LoadPostgreSQL: func() load {
		bin := newest("/usr/lib/postgresql/*/bin")
		const data = "/tmp/data"
		return load{
			setUp: func() error {
				if err := os.RemoveAll(userlandDir + data); err != nil {
					return err
				}
				return runInUserland(bin+"/initdb", "-D", data, "-A", "trust", "-U", "load", "--no-sync", "--locale=C")
			},
			server: []string{bin + "/postgres", "-D", data, "-k", "/tmp", "-c", "listen_addresses=", "-c", "shared_buffers=64MB", "-c", "min_wal_size=32MB",
				"-c", "max_wal_size=64MB", "-c", "jit=off"},
			answers: []string{bin + "/pg_isready", "-h", "/tmp", "-d", "postgres"},
			prepare: [][]string{{bin + "/pgbench", "-h", "/tmp", "-U", "load", "-i", "-q", "-s", "3", "postgres"}},
			round:   [][]string{{bin + "/pgbench", "-h", "/tmp", "-U", "load", "-n", "-c", "4", "-T", "10", "postgres"}},
		}
	},
	protection.LoadCompile: func() load {
		return load{setUp: writeSources, round: [][]string{{"/usr/bin/make", "-s", "-B", "-C", "/tmp/source"}}, result: hashObjects}
	},
}

// newest of what matches a pattern in the userland, as the userland names it.
func newest(pattern string) string {
	found, err := filepath.Glob(userlandDir + pattern)
	if err != nil || len(found) == 0 {
		return "/nowhere" // whatever is started there says so
	}
	return found[len(found)-1][len(userlandDir):]
}

// startLoad begins the load that the settings name, if they do.
func startLoad(s protection.Settings, c *counters) error {
	if s.Load == "" {
		return nil
	}
	if err := mountUserland(); err != nil {
		return err
	}
	go func() {
		for {
			err := loads[s.Load]().run(c)
			c.loadFailures.Add(1)
			fmt.Printf("protguest: load %s: %v\n", s.Load, err)
			time.Sleep(time.Second)
		}
	}()
	return nil
}

// answerWait is for a server under emulation that has just been started.
const answerWait = time.Minute

// run goes on until something fails.
func (l load) run(c *counters) error {
	if l.setUp != nil {
		if err := l.setUp(); err != nil {
			return err
		}
	}
	if l.server != nil {
		server := inUserland(l.server...)
		if err := startNice(server, loadNice); err != nil {
			return err
		}
		defer func() {
			_ = server.Process.Kill() // it may have ended: that is why the round failed
			_ = server.Wait()
		}()
		if err := l.awaitServer(); err != nil {
			return err
		}
	}
	for _, words := range l.prepare {
		if err := runInUserland(words...); err != nil {
			return err
		}
	}
	return l.rounds(c)
}

func (l load) awaitServer() error {
	for end := time.Now().Add(answerWait); ; time.Sleep(200 * time.Millisecond) {
		err := runInUserland(l.answers...)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}

// rounds come again and again; a result that differs from the first one's means
// that something was changed which nobody changed.
func (l load) rounds(c *counters) error {
	var first []byte
	for {
		for _, words := range l.round {
			if err := runInUserland(words...); err != nil {
				return err
			}
		}
		if l.result != nil {
			now, err := l.result()
			if err != nil {
				return err
			}
			if first == nil {
				first = now
			}
			if !bytes.Equal(now, first) {
				return errors.New("CORRUPT: the same round gave another result")
			}
		}
		c.loadRounds.Add(1)
	}
}

func runInUserland(words ...string) error {
	cmd := inUserland(words...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := startNice(cmd, loadNice)
	if err == nil {
		err = cmd.Wait()
	}
	var status *exec.ExitError
	if errors.As(err, &status) {
		return fmt.Errorf("%s: %w: %.300s", words[0], err, said.Bytes()[max(0, said.Len()-300):])
	}
	return err
}

// hashObjects of what was compiled.
func hashObjects() ([]byte, error) {
	objects, err := filepath.Glob(userlandDir + "/tmp/source/*.o")
	if err != nil || len(objects) != sourceFiles {
		return nil, fmt.Errorf("%d objects were compiled, want %d", len(objects), sourceFiles)
	}
	slices.Sort(objects)
	hash := sha256.New()
	for _, path := range objects {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		hash.Write(b)
	}
	return hash.Sum(nil), nil
}
