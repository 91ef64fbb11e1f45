package main

import (
	"fmt"
	"time"

	"bumpless/appliance/testbed/protection"

	"golang.org/x/sys/unix"
)

// slice is how often the writers and the verifier wake up.
const slice = 5 * time.Millisecond

func startDirtying(s protection.Settings, c *counters) error {
	var all []*protection.Pages
	for i, r := range s.Dirty {
		memory, err := unix.Mmap(-1, 0, r.MiB<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return fmt.Errorf("allocate region %s of %d MiB: %w", r.Name, r.MiB, err)
		}
		pages := protection.NewPages(memory, i)
		all = append(all, pages)
		go write(pages, r, c)
	}
	go verify(all, time.Duration(s.VerifyPassMs)*time.Millisecond, c)
	return nil
}

// write rewrites the region's pages in turn at the region's rate. Work that
// was missed (the guest was stopped) is not made up for.
func write(pages *protection.Pages, r protection.Region, c *counters) {
	next, owed, last := 0, 0.0, time.Now()
	for {
		time.Sleep(slice)
		now := time.Now()
		owed = min(owed+now.Sub(last).Seconds()*float64(r.PagesPerS), float64(r.PagesPerS)/10+1)
		for last = now; owed >= 1; owed-- {
			pages.Write(next, r.WriteBytes)
			next = (next + 1) % pages.Len()
			c.written.Add(1)
		}
	}
}

// verify passes over all regions again and again, one pass in about length.
func verify(all []*protection.Pages, length time.Duration, c *counters) {
	total := 0
	for _, p := range all {
		total += p.Len()
	}
	chunk := max(1, total*int(slice)/int(length))
	for {
		done := 0
		for region, p := range all {
			for i := range p.Len() {
				if !p.Verify(i) {
					c.corrupt.Add(1)
					fmt.Printf("protguest: CORRUPT region=%d page=%d\n", region, i)
				}
				if done++; done%chunk == 0 {
					time.Sleep(slice)
				}
			}
		}
		time.Sleep(slice)
		c.passes.Add(1)
	}
}
