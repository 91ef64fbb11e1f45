package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"bumpless/migrate/link"
)

// LAN says what a move may use of the LAN that an address is in.
type LAN struct {
	// CapacityMbitPerS; 0: what the interface says. If it does not say, the
	// move's connections over it are not paced.
	CapacityMbitPerS int `json:"capacity_mbit_per_s"`
	ReserveMbitPerS  int `json:"reserve_mbit_per_s"`
}

const bytesPerMbit = 1e6 / 8

// paceWindow is how often the service's traffic is measured.
const paceWindow = 50 * time.Millisecond

// pacer keeps what a move leaves alone in each LAN.
type pacer struct {
	mu   sync.Mutex
	lans []*pacedLAN
	at   stage
	// unpaced is set when a connection is in no paced LAN: then no rate is known
	// that the move cannot exceed.
	unpaced bool

	once        sync.Once
	stop, ended chan struct{}
}

// pacedLAN is one of them, with the move's connections in it.
type pacedLAN struct {
	share
	name          string // of the interface
	memory, disks []*paced
	last          traffic
	disksSent     int64   // at the end of the last window
	disksRate     float64 // in it, bytes per second
	looked        time.Time
}

// paced is one connection, with what it had sent when it was last looked at: a
// disk's is closed before the move is over.
type paced struct {
	link.Conn
	bytes, segments int64
}

// newPacer looks up the interfaces that the addresses are reached over.
func newPacer(cfg SourceConfig, memory, disks []link.Conn) *pacer {
	p := &pacer{stop: make(chan struct{}), ended: make(chan struct{})}
	lans := map[string]*pacedLAN{} // by address
	find := func(c link.Conn) *pacedLAN {
		address := c.Remote().String()
		l, seen := lans[address]
		if !seen {
			l = newPacedLAN(cfg, address, c.Local().IP)
			if lans[address] = l; l != nil {
				p.lans = append(p.lans, l)
			}
		}
		p.unpaced = p.unpaced || l == nil
		return l
	}
	for _, c := range memory {
		if l := find(c); l != nil {
			l.memory = append(l.memory, &paced{Conn: c})
		}
	}
	for _, c := range disks {
		if l := find(c); l != nil {
			l.disks = append(l.disks, &paced{Conn: c})
		}
	}
	for _, l := range p.lans {
		l.look(time.Now())
	}
	p.apply()
	go p.run()
	return p
}

// newPacedLAN is nil when nothing is known that could be kept to.
func newPacedLAN(cfg SourceConfig, address string, local net.IP) *pacedLAN {
	for i, a := range cfg.Addresses {
		if a != address || i >= len(cfg.LANs) {
			continue
		}
		lan := cfg.LANs[i]
		l := &pacedLAN{share: share{capacity: float64(lan.CapacityMbitPerS) * bytesPerMbit, reserve: float64(lan.ReserveMbitPerS) * bytesPerMbit}}
		var err error
		if l.name, err = interfaceOf(local); err != nil {
			return nil
		}
		if l.capacity == 0 {
			l.capacity = speedOf(l.name) * bytesPerMbit
		}
		if l.capacity > 0 {
			return l
		}
	}
	return nil
}

// run measures until close. The stop phase is paced as all else is.
func (p *pacer) run() {
	defer close(p.ended)
	if len(p.lans) == 0 {
		return
	}
	ticker := time.NewTicker(paceWindow)
	defer ticker.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
		}
		p.mu.Lock()
		for _, l := range p.lans {
			l.look(time.Now())
		}
		p.apply()
		p.mu.Unlock()
	}
}

func (p *pacer) close() {
	p.once.Do(func() { close(p.stop) })
	<-p.ended
}

// enter begins a stage.
func (p *pacer) enter(at stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = at
	p.apply()
}

// apply gives each connection its pace. One that is closed cannot take it, and
// need not.
func (p *pacer) apply() {
	for _, l := range p.lans {
		memory, disk := l.paces(p.at)
		for _, c := range l.memory {
			_ = c.Pace(memory)
		}
		for _, c := range l.disks {
			_ = c.Pace(disk)
		}
	}
}

func (l *pacedLAN) paces(at stage) (memory, disk float64) {
	allowed := l.allowed()
	return divide(allowed, disksPart(at, l.disksRate/allowed), len(l.memory), len(l.disks))
}

// limit is what memory may use of all LANs, in bytes of payload per second; ok
// is false when that is not bounded. kept is what is left alone, on the wire.
func (p *pacer) limit() (bytesPerS, kept float64, ok bool) {
	if p == nil {
		return 0, 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lans {
		memory, _ := l.paces(p.at)
		bytesPerS += memory * float64(len(l.memory))
		kept += l.kept()
	}
	return bytesPerS, kept, !p.unpaced && len(p.lans) > 0
}

// look closes a window. What cannot be read is left as it was: a LAN that has
// gone carries neither us nor a service.
func (l *pacedLAN) look(now time.Time) {
	table, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return
	}
	seen := l.last
	if seen.bytes, seen.packets, err = transmitted(table, l.name); err != nil {
		return
	}
	memory, segments := sentBy(l.memory)
	disks, more := sentBy(l.disks)
	seen.ours, seen.segments = memory+disks, segments+more
	if elapsed := now.Sub(l.looked); !l.looked.IsZero() && elapsed > 0 {
		l.measured(elapsed, seen.since(l.last).service()/elapsed.Seconds())
		l.disksRate = float64(disks-l.disksSent) / elapsed.Seconds()
	}
	l.last, l.disksSent, l.looked = seen, disks, now
}

func sentBy(conns []*paced) (bytes, segments int64) {
	for _, c := range conns {
		if b, n, ok := c.Transmitted(); ok {
			c.bytes, c.segments = b, n
		}
		bytes, segments = bytes+c.bytes, segments+c.segments
	}
	return bytes, segments
}

// transmitted reads an interface's counters out of /proc/net/dev, which is of
// the process's own network: /sys is not always.
func transmitted(table []byte, name string) (sent, packets int64, err error) {
	for line := range bytes.Lines(table) {
		at, counters, found := strings.Cut(strings.TrimSpace(string(line)), ":")
		fields := strings.Fields(counters)
		if !found || at != name || len(fields) < 10 {
			continue
		}
		// Eight of what was received come first.
		sent, err1 := strconv.ParseInt(fields[8], 10, 64)
		packets, err2 := strconv.ParseInt(fields[9], 10, 64)
		return sent, packets, errors.Join(err1, err2)
	}
	return 0, 0, fmt.Errorf("count what %s sends: it is not in /proc/net/dev", name)
}

// interfaceOf is the interface that has the address.
func interfaceOf(ip net.IP) (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) {
				return i.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no interface has the address %s", ip)
}

// speedOf an interface in Mbit/s; 0 when it does not say (-1, or an error, from
// loopback, a bridge or a cable that is out).
func speedOf(name string) float64 {
	text, err := os.ReadFile("/sys/class/net/" + name + "/speed")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return float64(max(0, n))
}
