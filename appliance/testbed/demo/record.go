package main

import (
	"sync"
	"time"

	"bumpless/appliance/api"
	"bumpless/appliance/testbed"
)

// sampleEvery is how often the links are looked at.
const sampleEvery = 50 * time.Millisecond

// record collects what the timeline shows. All times are seconds since began.
type record struct {
	began   time.Time
	cluster *testbed.Cluster
	gocbRef string
	hosts   []string
	ended   chan struct{}
	done    sync.WaitGroup

	mu     sync.Mutex
	marks  []mark
	passes []pass
	bytes  map[string][]count // sent by a host over both LANs
}

// mark is one moment with a name.
type mark struct {
	AtS  float64
	Text string
}

// pass over the guest's memory.
type pass struct {
	AtS float64
	api.Pass
}

type count struct {
	at    time.Time
	bytes int64
}

func newRecord(began time.Time, c *testbed.Cluster, gocbRef string, hosts []string) *record {
	r := &record{began: began, cluster: c, gocbRef: gocbRef, hosts: hosts, ended: make(chan struct{}), bytes: map[string][]count{}}
	r.done.Add(1)
	go r.sample()
	return r
}

func (r *record) stop() {
	close(r.ended)
	r.done.Wait()
}

func (r *record) sample() {
	defer r.done.Done()
	ticker := time.NewTicker(sampleEvery)
	defer ticker.Stop()
	for {
		for _, host := range r.hosts {
			// A host without power has no ports.
			if n, err := r.cluster.Bed.LinkBytes(host); err == nil {
				r.mu.Lock()
				r.bytes[host] = append(r.bytes[host], count{time.Now(), n})
				r.mu.Unlock()
			}
		}
		select {
		case <-r.ended:
			return
		case <-ticker.C:
		}
	}
}

func (r *record) since(t time.Time) float64 { return t.Sub(r.began).Seconds() }

func (r *record) mark(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.marks = append(r.marks, mark{r.since(time.Now()), text})
}

// progress takes in a line about a move.
func (r *record) progress(p api.Progress) {
	at := r.since(time.UnixMilli(p.AtMs))
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case p.Pass != nil:
		r.passes = append(r.passes, pass{at, *p.Pass})
	case !p.Final:
		r.marks = append(r.marks, mark{at, p.Phase})
	}
}

// sent is how many bytes a host sent from one moment to another.
func (r *record) sent(host string, from, to time.Time) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var first, last int64
	for _, c := range r.bytes[host] {
		if !c.at.After(from) || first == 0 {
			first = c.bytes
		}
		last = c.bytes
		if c.at.After(to) {
			break // the first sample after the end has everything
		}
	}
	return last - first
}
