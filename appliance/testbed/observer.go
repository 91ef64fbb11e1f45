package testbed

import (
	"errors"
	"fmt"
	"net"
	"sort"
	"sync"
	"time"

	"bumpless/appliance/testbed/protection"
	"bumpless/iec61850/ether"
	"bumpless/iec61850/goose"
)

// Sighting is one GOOSE frame of a guest, as a neighbour on the bus saw it.
type Sighting struct {
	At     time.Time // the kernel's time stamp at the port
	Source string    // the port that it came from: which host sent it
	Report protection.Report
}

// Observer sees every guest's GOOSE at the port of the host that sends it.
type Observer struct {
	mu     sync.Mutex
	seen   map[string][]Sighting // by gocbRef
	frames int
	conns  []*ether.Conn
	failed error
}

// maxSightings bounds what is kept of one guest: 100 frames/s for half an hour.
const maxSightings = 180_000

// NewObserver begins to observe. ports maps the name of a source to the
// interface at which its frames arrive.
func NewObserver(ports map[string]string) (*Observer, error) {
	o := &Observer{seen: map[string][]Sighting{}}
	for source, port := range ports {
		if err := o.Watch(source, port); err != nil {
			o.Close()
			return nil, err
		}
	}
	return o, nil
}

// Watch adds a port. A host that was off has a new one.
func (o *Observer) Watch(source, port string) error {
	c, err := ether.Open(port, goose.EtherType)
	if err != nil {
		return fmt.Errorf("observe %s: %w", source, err)
	}
	o.mu.Lock()
	o.conns = append(o.conns, c)
	o.mu.Unlock()
	go o.listen(c, source)
	return nil
}

func (o *Observer) listen(c *ether.Conn, source string) {
	for {
		f, err := c.Receive(time.Time{})
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			o.mu.Lock()
			o.failed = err
			o.mu.Unlock()
			return
		}
		g, err := goose.Unmarshal(f.Payload)
		if err != nil {
			continue
		}
		report, err := protection.ParseReport(g.PDU.AllData)
		if err != nil {
			continue
		}
		o.add(g.PDU.GocbRef, Sighting{At: f.Received, Source: source, Report: report})
	}
}

func (o *Observer) add(guest string, s Sighting) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frames++
	if len(o.seen[guest]) < maxSightings {
		o.seen[guest] = append(o.seen[guest], s)
	}
}

// Close ends observing; what was seen stays.
func (o *Observer) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.conns {
		_ = c.Close() // twice is harmless
	}
}

// Frames that were seen, of all guests.
func (o *Observer) Frames() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.frames
}

// Last sighting of the guest.
func (o *Observer) Last(gocbRef string) (Sighting, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.seen[gocbRef]
	if len(list) == 0 {
		return Sighting{}, false
	}
	return list[len(list)-1], true
}

// Between returns the guest's sightings from one moment to another, in order,
// with the last one before.
func (o *Observer) Between(gocbRef string, from, to time.Time) Sightings {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := append(Sightings(nil), o.seen[gocbRef]...)
	sort.SliceStable(list, func(i, j int) bool { return list[i].At.Before(list[j].At) })
	first := sort.Search(len(list), func(i int) bool { return !list[i].At.Before(from) })
	last := sort.Search(len(list), func(i int) bool { return list[i].At.After(to) })
	return list[max(0, first-1):last]
}

// Sightings in order of time.
type Sightings []Sighting

// LargestGap between two frames, and when it began.
func (s Sightings) LargestGap() (gap time.Duration, began time.Time) {
	for i := 1; i < len(s); i++ {
		if d := s[i].At.Sub(s[i-1].At); d > gap {
			gap, began = d, s[i-1].At
		}
	}
	return gap, began
}

// presence: two frames of one source with less than this between them belong
// to one copy that runs all the time.
const presence = time.Second

// CopiesMax is the largest number of sources that sent at the same moment: a
// source is present from its first frame to its last one, as long as no gap is
// longer than presence. A copy that hands over to another one overlaps it in
// no moment, however quick it is; two copies that run overlap within a period.
func (s Sightings) CopiesMax() int {
	type edge struct {
		at    time.Time
		delta int
	}
	var edges []edge
	begun, last := map[string]time.Time{}, map[string]time.Time{}
	end := func(source string) {
		edges = append(edges, edge{begun[source], 1}, edge{last[source], -1})
	}
	for _, x := range s {
		if at, ok := last[x.Source]; !ok || x.At.Sub(at) > presence {
			if ok {
				end(x.Source)
			}
			begun[x.Source] = x.At
		}
		last[x.Source] = x.At
	}
	for source := range last {
		end(source)
	}
	sort.Slice(edges, func(i, j int) bool {
		if edges[i].at.Equal(edges[j].at) {
			return edges[i].delta > edges[j].delta
		}
		return edges[i].at.Before(edges[j].at)
	})
	now, most := 0, 0
	for _, e := range edges {
		now += e.delta
		most = max(most, now)
	}
	return most
}

// Source of the last frame, "" when there is none.
func (s Sightings) Source() string {
	if len(s) == 0 {
		return ""
	}
	return s[len(s)-1].Source
}

// Wait until the guest was seen with what ok wants, or the time is up.
func (o *Observer) Wait(gocbRef string, limit time.Duration, ok func(Sighting) bool) (Sighting, error) {
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s, seen := o.Last(gocbRef); seen && ok(s) {
			return s, nil
		}
	}
	last, _ := o.Last(gocbRef)
	return last, fmt.Errorf("the observer waited %v for %s; last seen: %+v", limit, gocbRef, last)
}
