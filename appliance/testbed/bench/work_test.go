package main

import (
	"runtime"
	"strings"
	"testing"

	"bumpless/migrate/link"
	"bumpless/migrate/link/linktest"
)

// work between two hosts of a site, by the names that their ends expect.
func workBetween(t *testing.T, source, destination string) (*work, error) {
	t.Helper()
	site := linktest.NewSite(t)
	files := func(name string) link.Files {
		cert, key, ca := site.Host(name)
		return link.Files{Cert: cert, Key: key, CA: ca}
	}
	return newWork(files("one"), files("two"), source, destination)
}

func TestTheWorkOfAContentIsTheCPUTimeOfBothEnds(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w, err := workBetween(t, "one", "two")
	if err != nil {
		t.Fatal(err)
	}
	for range 64 {
		if err := w.carry(pages(workBytes/len(pages(1, 1)), 3)); err != nil {
			t.Fatal(err)
		}
	}
	both, err := w.end()
	if err != nil || both <= w.source || w.source <= 0 {
		t.Errorf("end() = %v, %v; want more than the source's %v", both, err, w.source)
	}
}

func TestWorkIsBetweenTheTwoHosts(t *testing.T) {
	_, err := workBetween(t, "one", "three")
	if err == nil || !strings.Contains(err.Error(), "three") {
		t.Errorf("newWork() = %v; want an error that names the peer", err)
	}
}

// The guest leaves 1.2 of two CPUs; QEMU and the content take 0.9 s of them.
func TestATimeCannotBeLessThanTheCPUsBesideTheGuestTake(t *testing.T) {
	ours := row("redis", 1e9, "bumpless", 1, 1, 60, 0, 45)
	ours.LimitS, ours.CPUs, ours.WorkCPUS = 0.3, 2, 0.6
	ours.GuestCPUS, ours.SourceCPUS, ours.DestinationCPUS = 0.8, 1, 0.1
	for theirs, want := range map[float64]verdict{0.6: beyond, 0.74: beyond, 0.8: missed, 1.1: met} {
		g := goalsOf(row("redis", 1e9, "qemu-multifd-zstd", 1, theirs, 120, 70, 50), ours)["total time"]
		if g.verdict != want {
			t.Errorf("1 s against %.2f s: %+v; want %s", theirs, g, want)
		}
		if want == beyond && !strings.Contains(g.wanted, "the limit is 0.75 s") {
			t.Errorf("it does not say why: %q", g.wanted)
		}
	}
	ours.CPUs = 0 // a row of an earlier release
	if g := goalsOf(row("redis", 1e9, "qemu-multifd-zstd", 1, 0.6, 120, 70, 50), ours)["total time"]; g.verdict != missed {
		t.Errorf("without CPUs: %+v; want %s", g, missed)
	}
}
