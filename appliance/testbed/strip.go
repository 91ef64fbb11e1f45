package testbed

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// strip is the power strip: it feeds every host, and is every host's watchdog.
// A host arms its outlet by the first "pet MILLISECONDS"; from then on it is
// switched off when it is not petted for that long.
type strip struct {
	bed *Bed

	mu      sync.Mutex
	outlets map[string]*outlet
}

type outlet struct {
	listener net.Listener
	timer    *time.Timer // nil while not armed
	cuts     int         // how often the strip, not somebody else, cut the host
}

// StripSocket is where a host pets its outlet. The path is the same seen from
// the fabric and from the host.
func (b *Bed) StripSocket(host string) string {
	return filepath.Join(b.options.Dir, host+".power")
}

// WatchdogCuts is how often a host's outlet was switched off because it was not
// petted.
func (b *Bed) WatchdogCuts(host string) int {
	b.strip.mu.Lock()
	defer b.strip.mu.Unlock()
	return b.strip.outlets[host].cuts
}

func newStrip(b *Bed) (*strip, error) {
	s := &strip{bed: b, outlets: map[string]*outlet{}}
	for _, host := range b.options.Hosts {
		path := b.StripSocket(host)
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("power strip: %w", err)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			return nil, fmt.Errorf("power strip: %w", err)
		}
		s.outlets[host] = &outlet{listener: l}
		go s.accept(host, l)
	}
	return s, nil
}

func (s *strip) accept(host string, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go s.serve(host, c)
	}
}

func (s *strip) serve(host string, c net.Conn) {
	defer c.Close()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		word, number, _ := strings.Cut(lines.Text(), " ")
		ms, err := strconv.Atoi(number)
		if word != "pet" || err != nil || ms < 1 || ms > 3_600_000 {
			fmt.Fprintf(c, "error: want: pet MILLISECONDS\n")
			continue
		}
		s.pet(host, time.Duration(ms)*time.Millisecond)
		fmt.Fprintf(c, "ok\n")
	}
}

func (s *strip) pet(host string, timeout time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.outlets[host]
	if o.timer != nil {
		o.timer.Stop()
	}
	o.timer = time.AfterFunc(timeout, func() { s.expire(host) })
}

func (s *strip) expire(host string) {
	s.mu.Lock()
	s.outlets[host].cuts++
	s.mu.Unlock()
	_ = s.bed.PowerCut(host) // off already is what is wanted
}

// disarm is for a host that is being switched off or on.
func (s *strip) disarm(host string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.outlets[host]; o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
}

func (s *strip) close() {
	for host, o := range s.outlets {
		s.disarm(host)
		o.listener.Close()
	}
}
