package replay

import (
	"slices"
	"time"
)

// Load describes a guest, for a trace that is made and not recorded.
type Load struct {
	Name    string
	MiB     uint32 // RAM
	UsedMiB uint32 // of it not zero, beside the regions; from the first page on
	Regions []Region
}

// Region of a guest's memory that it keeps writing to. It follows on what is
// used, region by region.
type Region struct {
	MiB       uint32
	PagesPerS int   // writes
	Class     Class // of its content; Zero: as the rest of the memory
	Unchanged int   // percent of the writes that change nothing
	Ring      bool  // written in order, round and round; else at random
}

// Loads are those of the measurements in facts on QEMU: an idle Debian guest of
// 384 MiB, and the same with a hot set, or with hot, warm and cold memory. Beside
// them, "hot8" writes each page of a small set many times in a pass, and "ring" is
// a buffer written round and round, each page every two seconds.
func Loads() []Load {
	incompressible := Packed(PageSize)
	idle := Region{MiB: 6, PagesPerS: 300, Unchanged: 58}
	guest := func(name string, regions ...Region) Load {
		return Load{Name: name, MiB: 384, UsedMiB: 125, Regions: append([]Region{idle}, regions...)}
	}
	return []Load{
		guest("idle"),
		guest("hot8", Region{MiB: 8, PagesPerS: 40_000, Class: incompressible}),
		guest("hot16", Region{MiB: 16, PagesPerS: 8000, Class: incompressible}),
		guest("ring16", Region{MiB: 16, PagesPerS: 8000, Class: incompressible, Ring: true}),
		guest("hot48", Region{MiB: 48, PagesPerS: 24_000, Class: incompressible}),
		guest("mix", Region{MiB: 4, PagesPerS: 6000, Class: incompressible},
			Region{MiB: 32, PagesPerS: 1500, Class: incompressible}, Region{MiB: 96, PagesPerS: 50, Class: incompressible}),
		guest("ring", Region{MiB: 32, PagesPerS: 4096, Class: incompressible, Ring: true}),
	}
}

const (
	pagesPerMiB = 1 << 20 / PageSize
	tick        = 25 * time.Millisecond // of a trace that is made
	unusedGap   = 64                    // pages between regions
)

// Trace of the load for a time. The same seed makes the same trace.
func (l Load) Trace(seed uint64, length time.Duration) Trace {
	r := random(seed)
	t := Trace{Pages: l.MiB * pagesPerMiB}
	t.Passes = append(t.Passes, l.bulk(&r))
	for at := tick; at <= length; at += tick {
		t.Passes = append(t.Passes, l.pass(&r, at))
	}
	return t
}

func (l Load) bulk(r *random) (p Pass) {
	for page := range l.UsedMiB * pagesPerMiB {
		p.Add(page, r.class())
	}
	first := l.UsedMiB*pagesPerMiB + unusedGap
	for _, region := range l.Regions {
		for i := range region.MiB * pagesPerMiB {
			p.Add(first+i, region.class(r))
		}
		first += region.MiB*pagesPerMiB + unusedGap
	}
	return p
}

// pass has the writes of one tick.
func (l Load) pass(r *random, at time.Duration) Pass {
	written := map[uint32]Class{}
	first := l.UsedMiB*pagesPerMiB + unusedGap
	for _, region := range l.Regions {
		due := func(at time.Duration) int64 { return int64(region.PagesPerS) * int64(at) / int64(time.Second) }
		for n := due(at - tick); n < due(at); n++ {
			page := first + region.page(r, n)
			c := region.class(r)
			if r.below(100) < uint64(region.Unchanged) {
				c = Unchanged
			}
			if was, again := written[page]; !again || was == Unchanged {
				written[page] = c
			}
		}
		first += region.MiB*pagesPerMiB + unusedGap
	}
	pages := make([]uint32, 0, len(written))
	for page := range written {
		pages = append(pages, page)
	}
	slices.Sort(pages)
	p := Pass{At: at}
	for _, page := range pages {
		p.Add(page, written[page])
	}
	return p
}

// page of the n-th write.
func (g Region) page(r *random, n int64) uint32 {
	if g.Ring {
		return uint32(n % int64(g.MiB*pagesPerMiB))
	}
	return uint32(r.below(uint64(g.MiB * pagesPerMiB)))
}

func (g Region) class(r *random) Class {
	if g.Class == Zero {
		return r.class()
	}
	return g.Class
}

// random is splitmix64 (Steele, Lea and Flood 2014).
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	x := uint64(*r)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (r *random) below(n uint64) uint64 { return r.next() % n }

// class of a page of a fresh Debian guest: 22 % are incompressible, all together
// compress to about half.
func (r *random) class() Class {
	if r.below(100) < 22 {
		return Packed(PageSize)
	}
	return packed + Class(r.below(10))
}
