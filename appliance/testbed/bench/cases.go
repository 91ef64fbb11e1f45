package main

import (
	"fmt"
	"slices"
	"strings"

	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/policy"
)

// load is what the guest does while it is moved.
type load struct {
	name    string
	regions []protection.Region
	// program that the guest runs beside the protection, one of protection.Loads;
	// "" for none.
	program string
	// hotMiB is rewritten faster than any link here but the unshaped one: what a
	// stop has to carry at least, before compression. hotUnknown: nobody can say;
	// it fits if any method moved it.
	hotMiB int
	// budgets in ms: QEMU's own default, and of a hot set what it takes over 200
	// Mbit/s uncompressed and a good fifth more.
	budgets []int
}

const hotUnknown = -1

// Memory of the guests. A load of programs needs more: what it writes, and its
// files' cache, lie in memory.
const (
	guestMiB   = 384
	programMiB = 512
)

func (l load) memoryMiB() int {
	if l.program != "" {
		return programMiB
	}
	return guestMiB
}

// checked is what verifies itself beside a load of programs.
var checked = []protection.Region{{Name: "check", MiB: 4, PagesPerS: 100, WriteBytes: 64}}

// The loads of programs run on one CPU under emulation, at a lower priority than
// the protection. How fast they dirty memory is what their traces say
// (migrate/replay/testdata): pages that QEMU found dirty in each second of its looks,
// several a second, and different ones in 5 s. The idle guest has 2,700 and 700.
//
//	redis       a cache of 95,000 keys and a hash, values of 256 bytes, nothing
//	            saved; redis-benchmark sets, gets, increments, pushes, pops and
//	            writes to the hash, 50 clients: 10,000 pages/s, 7,500 different;
//	            43 % of them found as they were
//	postgresql  pgbench's own transactions, 4 clients, scale 3 (45 MB), 64 MB of
//	            shared buffers, data and log on a tmpfs: 7,300 pages/s, 5,000; 45 %
//	compile     make and gcc -O2 -g over four files of generated C, again and
//	            again; the objects must be the same: 5,800 pages/s, 3,500; 32 %
var loads = []load{
	{name: "idle", budgets: []int{300}},
	{name: "hot16", hotMiB: 16, budgets: []int{300, 1000}, regions: []protection.Region{{Name: "hot", MiB: 16, PagesPerS: 8000, WriteBytes: protection.PageSize}}},
	{name: "hot48", hotMiB: 48, budgets: []int{300, 2500}, regions: []protection.Region{{Name: "hot", MiB: 48, PagesPerS: 24000, WriteBytes: protection.PageSize}}},
	{name: "mix", hotMiB: 4, budgets: []int{300}, regions: []protection.Region{
		{Name: "hot", MiB: 4, PagesPerS: 6000, WriteBytes: protection.PageSize},
		{Name: "warm", MiB: 32, PagesPerS: 1500, WriteBytes: 64},
		{Name: "cold", MiB: 96, PagesPerS: 50, WriteBytes: 64}}},
	{name: "redis", program: protection.LoadRedis, regions: checked, hotMiB: hotUnknown, budgets: []int{300}},
	{name: "postgresql", program: protection.LoadPostgreSQL, regions: checked, hotMiB: hotUnknown, budgets: []int{300}},
	{name: "compile", program: protection.LoadCompile, regions: checked, hotMiB: hotUnknown, budgets: []int{300}},
}

// cable between the two hosts.
type cable struct {
	name     string
	bitsPerS int64 // 0: not shaped
	rttMs    int   // that it adds
	byName   bool  // taken only where it is named
}

// Both hosts, their hypervisors and gateways run on one machine's cores here: 500 Mbit/s is
// to these what 1 Gbit/s is to hosts that have as many each.
var links = []cable{
	{name: "200M", bitsPerS: 200e6}, {name: "1G", bitsPerS: 1e9}, {name: "unshaped"}, {name: "1G-20ms", bitsPerS: 1e9, rttMs: 20},
	{name: "500M", bitsPerS: 500e6, byName: true},
}

func linkName(bitsPerS int64, rttMs float64) string {
	for _, l := range links {
		if l.bitsPerS == bitsPerS && float64(l.rttMs) == rttMs {
			return l.name
		}
	}
	return fmt.Sprintf("%dM-%gms", bitsPerS/1e6, rttMs)
}

// native is one of QEMU's own ways to migrate.
type native struct {
	name         string
	capabilities []string
	compression  string // of multifd
	impatient    bool   // give up as relaxed.go says, not after nativeLimit
}

// nativePrefix tells QEMU's methods from our policies, which have a precopy too.
const nativePrefix = "qemu-"

// qemuDefault is what QEMU does when it is told nothing else.
const qemuDefault = nativePrefix + "precopy"

var natives = []native{
	{name: qemuDefault, compression: "none"},
	{name: nativePrefix + "xbzrle", capabilities: []string{"xbzrle"}, compression: "none"},
	{name: nativePrefix + "auto-converge", capabilities: []string{"auto-converge"}, compression: "none"},
	{name: nativePrefix + "multifd-zstd", capabilities: []string{"multifd"}, compression: "zstd"},
	{name: nativePrefix + "multifd-zero-page", capabilities: []string{"multifd"}, compression: "none"},
}

// defaultPolicy is the one that the goals are about.
const defaultPolicy = "bumpless"

// methods in the order of a turn. A relaxed one comes after the policy whose pause
// it is given.
func methods() []string {
	var names []string
	for _, n := range natives {
		names = append(names, n.name)
	}
	names = append(names, policy.Names()...)
	for _, x := range relaxations {
		names = append(names, x.method)
	}
	return names
}

// quick is the part that is done in a few minutes.
var quick = selection{
	loads:   []string{"idle", "hot16", "mix"},
	links:   []string{"200M", "1G"},
	methods: []string{nativePrefix + "precopy", nativePrefix + "multifd-zstd", defaultPolicy},
}

// trial is one run of the plan.
type trial struct {
	load     load
	cable    cable
	budgetMs int
	method   string
	run      int // from 1
}

func (t trial) String() string {
	return fmt.Sprintf("%s, %s, %d ms, %s, run %d", t.load.name, t.cable.name, t.budgetMs, t.method, t.run)
}

// plan lists the trials in order: one boot for each load, and within a link the
// methods in turn, so that a slow drift of the machine meets all of them.
func plan(s selection, runs int, firstBudgetOnly bool) []trial {
	var all []trial
	for _, l := range loads {
		for _, k := range links {
			if k.byName && len(s.links) == 0 {
				continue
			}
			for run := 1; run <= runs; run++ {
				for i, budget := range l.budgets {
					if i > 0 && firstBudgetOnly {
						continue
					}
					for _, m := range methods() {
						if s.has(l.name, k.name, m) {
							all = append(all, trial{l, k, budget, m, run})
						}
					}
				}
			}
		}
	}
	return all
}

// selection of loads, links and methods; an empty list takes all.
type selection struct{ loads, links, methods []string }

func (s selection) has(load, link, method string) bool {
	in := func(list []string, x string) bool { return len(list) == 0 || slices.Contains(list, x) }
	return in(s.loads, load) && in(s.links, link) && in(s.methods, method)
}

// only narrows a selection by LOADS/LINKS/METHODS, each a list with commas; an
// empty or missing one narrows nothing.
func (s selection) only(filter string) (selection, error) {
	parts := strings.Split(filter, "/")
	if len(parts) > 3 {
		return s, fmt.Errorf("-only %q: want LOADS/LINKS/METHODS", filter)
	}
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	var loadNames, linkNames []string
	for _, l := range loads {
		loadNames = append(loadNames, l.name)
	}
	for _, l := range links {
		linkNames = append(linkNames, l.name)
	}
	narrow := func(list *[]string, words string, known []string) error {
		if words == "" {
			return nil
		}
		*list = strings.Split(words, ",")
		for _, w := range *list {
			if !slices.Contains(known, w) {
				return fmt.Errorf("-only %q: no %q, there are %v", filter, w, known)
			}
		}
		return nil
	}
	if err := narrow(&s.loads, parts[0], loadNames); err != nil {
		return s, err
	}
	if err := narrow(&s.links, parts[1], linkNames); err != nil {
		return s, err
	}
	if err := narrow(&s.methods, parts[2], methods()); err != nil {
		return s, err
	}
	for _, x := range relaxations {
		if len(s.methods) > 0 && slices.Contains(s.methods, x.method) && !slices.Contains(s.methods, x.policy) {
			return s, fmt.Errorf("-only %q: %s needs %s beside it, whose pause it is given", filter, x.method, x.policy)
		}
	}
	return s, nil
}
