package bumpless

import (
	"go/build"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// rule forbids every package under pkg to import anything under one of
// the paths in not.
type rule struct {
	pkg string
	not []string
	why string
}

var pureNot = []string{"net", "os", "sync", "math/rand", "crypto/rand", "golang.org/x/sys", "syscall", "io/ioutil"}

const pureWhy = "pure: time, randomness and effects come in as values, so that the simulator can drive it"

var rules = []rule{
	{"ha", []string{"bumpless/appliance", "bumpless/migrate", "bumpless/iec61850", "bumpless/watchdog", "bumpless/image"}, "the five parts meet in appliance only"},
	{"migrate", []string{"bumpless/appliance", "bumpless/ha", "bumpless/iec61850", "bumpless/watchdog", "bumpless/image"}, "the five parts meet in appliance only"},
	{"iec61850", []string{"bumpless/appliance", "bumpless/ha", "bumpless/migrate", "bumpless/watchdog", "bumpless/image"}, "the five parts meet in appliance only"},
	{"watchdog", []string{"bumpless/appliance", "bumpless/ha", "bumpless/migrate", "bumpless/iec61850", "bumpless/image"}, "the five parts meet in appliance only"},
	{"image", []string{"bumpless/appliance", "bumpless/ha", "bumpless/migrate", "bumpless/iec61850", "bumpless/watchdog"}, "the five parts meet in appliance only"},
	{"ha/core", pureNot, pureWhy},
	{"ha/plan", pureNot, pureWhy},
	{"migrate/pages", pureNot, pureWhy},
	{"migrate/policy", pureNot, pureWhy},
	{"migrate/replay", pureNot, pureWhy},
	{"watchdog/deadline", pureNot, pureWhy},
	{"image/slot", pureNot, pureWhy},
}

// home says which one package may import a third-party module. golang.org/x/sys
// is the standard library's own system-call layer and may be used at any edge.
var home = map[string]string{
	"github.com/hashicorp/raft":           "ha/raftlog",
	"github.com/hashicorp/raft-boltdb/v2": "ha/raftlog",
	"github.com/hashicorp/go-hclog":       "ha/raftlog", // raft takes its logger as this type
	"go.etcd.io/bbolt":                    "ha/raftlog", // raft-boltdb's store, for its lock's time limit
	"go.bug.st/serial":                    "appliance/console",
	"github.com/goccy/go-yaml":            "appliance/config",
	"github.com/spf13/cobra":              "appliance/console",
	"github.com/klauspost/compress":       "migrate/link",
	"github.com/DataDog/zstd":             "migrate/link", // libzstd, where there is cgo: twice as fast on guest RAM
	"github.com/google/gopacket":          "iec61850/ether",
}

func under(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func TestNoPackageImportsWhatTheHouseForbids(t *testing.T) {
	packages := 0
	err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if dir != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "out" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		if err != nil {
			if _, none := err.(*build.NoGoError); none {
				return nil
			}
			return err
		}
		packages++
		checkImports(t, dir, p.Imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if packages == 0 {
		t.Fatal("no package was read")
	}
}

func checkImports(t *testing.T, dir string, imports []string) {
	for _, imp := range imports {
		for _, r := range rules {
			if !under(dir, r.pkg) {
				continue
			}
			for _, not := range r.not {
				if under(imp, not) {
					t.Errorf("%s imports %s: %s", dir, imp, r.why)
				}
			}
		}
		checkHome(t, dir, imp)
	}
}

func checkHome(t *testing.T, dir, imp string) {
	if !strings.Contains(strings.Split(imp, "/")[0], ".") || under(imp, "golang.org/x/sys") {
		return
	}
	for module, room := range home {
		if under(imp, module) && under(dir, room) {
			return
		}
	}
	t.Errorf("%s imports %s: a third-party module has one home, listed in arch_test.go", dir, imp)
}
