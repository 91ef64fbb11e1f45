package testbed

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bumpless/appliance/guest"
	"bumpless/appliance/testbed/protection"
	"bumpless/migrate/gateway"
)

// serviceLink is the LAN of the tests below, in Mbit/s; a FIFO of 20 ms stands
// before it. Of it serviceReserve is kept; the service takes 5.
const (
	serviceLink    = 200
	serviceReserve = 10
)

// serviceRig is a rig whose gateways are on hosts of a bed, and meet in LAN A.
type serviceRig struct {
	*rig
	bed *Bed
}

func newServiceRig(t *testing.T) *serviceRig {
	t.Helper()
	r := &serviceRig{rig: newRig(t, 1000, protection.Region{Name: "hot", MiB: 2, PagesPerS: 500, WriteBytes: protection.PageSize},
		protection.Region{Name: "cold", MiB: 48, PagesPerS: 300, WriteBytes: 64})}
	r.bed = newBed(t, Options{Hosts: []string{srcHost, dstHost}, LinkBitsPerS: serviceLink * 1e6})
	for _, name := range []string{srcHost, dstHost} {
		// Fills FIFOs, as cubic does over so short a path; any host has it. BBR does not.
		_, err := r.bed.Host(name).Exec(within(t), "sh", "-c", "echo reno > /proc/sys/net/ipv4/tcp_congestion_control")
		must(t, err)
	}
	r.enter = func(role string, start func() error) error {
		host := r.at
		if role == "destination" {
			host = other(host)
		}
		return r.bed.Host(host).InNetwork(start)
	}
	return r
}

// served is what a service met while f ran.
type served struct{ samples, states Crossing }

// serve plays a service from the guest's host to the other one while f runs.
func (r *serviceRig) serve(what string, f func()) (s served) {
	r.t.Helper()
	service, err := NewService(r.bed.Host(r.at), r.bed.Host(other(r.at)), LANA)
	must(r.t, err)
	r.t.Cleanup(func() { service.Close() })
	time.Sleep(time.Second) // the first frames find no MAC table, no warm cache
	from := time.Now()
	f()
	to := time.Now()
	must(r.t, service.Close())
	s.samples, s.states = service.Between(from, to)
	r.t.Logf("%s: SV %v", what, s.samples)
	r.t.Logf("%s: GOOSE %v", what, s.states)
	return s
}

// moveOver moves the guest over LAN A and returns what the last pass said was
// left to the service, in Mbit/s. capacity 0: the reserve is off.
func (r *serviceRig) moveOver(policy string, capacity int) (result *gateway.Result, keptMbit float64) {
	r.t.Helper()
	for try := 1; try <= 3; try++ {
		m := r.begin(func(s *gateway.SourceConfig, d *gateway.DestinationConfig) {
			d.Listen = []string{Address(r.bed.Host(other(r.at)).Number, LANA) + ":0"}
			s.Policy, s.LANs = policy, []gateway.LAN{{CapacityMbitPerS: capacity, ReserveMbitPerS: serviceReserve}}
		})
		m.source.until("its end", func(e gateway.Event) bool {
			if e.Pass != nil {
				keptMbit = e.Pass.KeptBytesPerS * 8 / 1e6
			}
			return false
		})
		result, _ = m.settle()
		if result == nil || (result.Outcome != gateway.Moved && result.Outcome != gateway.RolledBack) {
			r.t.Fatalf("%s, capacity %d: result = %+v; want moved", policy, capacity, result)
		}
		r.t.Logf("%s, capacity %d, %.1f Mbit/s kept: %+v", policy, capacity, keptMbit, *result)
		if result.Outcome == gateway.Moved {
			return result, keptMbit
		}
	}
	r.t.Fatalf("%s, capacity %d: three moves were rolled back", policy, capacity)
	return nil, 0
}

// Bounds on what a move may do to the service. The LAN's FIFO holds 20 ms; the
// machine that runs all of this stalls for milliseconds by itself, which is why
// the sender's own gaps and those of the time without a move are allowed for.
const (
	onTheWay = 5 * time.Millisecond // of 99.9 % of the frames
	moreGap  = 10 * time.Millisecond
)

// leftAlone checks that nothing was lost and that no period was missed.
func (s served) leftAlone(t *testing.T, what string, quiet served) {
	t.Helper()
	for _, c := range []struct {
		stream       string
		moved, quiet Crossing
	}{{"SV", s.samples, quiet.samples}, {"GOOSE", s.states, quiet.states}} {
		if c.moved.Frames == 0 || c.moved.Lost != 0 {
			t.Errorf("%s: %s: %d of %d frames were lost; want none", what, c.stream, c.moved.Lost, c.moved.Frames)
		}
		if c.moved.P999 > c.quiet.P999+onTheWay {
			t.Errorf("%s: %s: 99.9 %% of the frames came through within %v, without a move %v; want at most %v more", what, c.stream, c.moved.P999, c.quiet.P999, onTheWay)
		}
		if limit := max(c.moved.LargestEnters, c.quiet.LargestGap) + moreGap; c.moved.LargestGap > limit {
			t.Errorf("%s: %s: largest gap %v, at the sender %v, without a move %v; want at most %v", what, c.stream, c.moved.LargestGap, c.moved.LargestEnters, c.quiet.LargestGap, limit)
		}
	}
}

// harmed tells whether the service was: this test could fail.
func (s served) harmed() bool { return s.samples.Lost > 0 || s.samples.Median > moreGap }

func TestE2EAMoveLeavesTheServiceOnItsLinkAlone(t *testing.T) {
	r := newServiceRig(t)
	r.boot()
	quiet := r.serve("no move", func() { time.Sleep(4 * time.Second) })
	for _, policy := range []string{"bumpless", "precopy"} {
		what := policy + ", with a reserve"
		r.serve(what, func() { r.moveOver(policy, serviceLink) }).leftAlone(t, what, quiet)
	}
	if s := r.serve("precopy, no reserve", func() { r.moveOver("precopy", 0) }); !s.harmed() {
		t.Errorf("without a reserve the service is as well off: SV %v; the link is no test", s.samples)
	}
}

// A service that sends six times the reserve is measured, and keeps what it
// has.
func TestE2EAServiceLargerThanItsReserveIsLeftAloneToo(t *testing.T) {
	r := newServiceRig(t)
	r.boot()
	const burden = 60 // Mbit/s
	stop := r.burden(burden)
	defer stop()
	quiet := r.serve("no move", func() { time.Sleep(3 * time.Second) })
	s := r.serve("bumpless", func() {
		if _, kept := r.moveOver("bumpless", serviceLink); kept < burden/2 || kept > 1.5*burden {
			t.Errorf("%.1f Mbit/s were kept; want about %d", kept, burden)
		}
	})
	s.leftAlone(t, "bumpless", quiet)
}

// burden sends so much from the guest's host to the other one, in datagrams,
// until stop is called. It never catches up on what it missed: that would be a
// burst of its own.
func (r *serviceRig) burden(mbitPerS int) (stop func()) {
	r.t.Helper()
	const size, period = 1250, 2 * time.Millisecond
	each := mbitPerS * 1e6 / 8 * int(period/time.Millisecond) / 1000 / size
	to := net.UDPAddr{IP: net.ParseIP(Address(r.bed.Host(other(r.at)).Number, LANA)), Port: 9}
	var sink, source *net.UDPConn
	must(r.t, r.bed.Host(other(r.at)).InNetwork(func() (err error) { sink, err = net.ListenUDP("udp", &to); return err }))
	must(r.t, r.bed.Host(r.at).InNetwork(func() (err error) { source, err = net.DialUDP("udp", nil, &to); return err }))
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker, b := time.NewTicker(period), make([]byte, size)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			for range each {
				_, _ = source.Write(b) // what is lost is lost: it is only in the way
			}
		}
	}()
	return func() { close(done); <-ended; source.Close(); sink.Close() }
}

// The content of a disk is most of what such a move sends.
func TestE2EAMirroredDiskLeavesTheServiceAloneToo(t *testing.T) {
	r := newServiceRig(t)
	const imageMiB = 64
	for _, host := range []string{srcHost, dstHost} {
		spec := r.runners[host].Specs[rigGuest]
		spec.Disks = []guest.Disk{{Path: filepath.Join(t.TempDir(), host+".img"), Format: "raw", Local: true, SizeMiB: imageMiB}}
		r.runners[host].Specs[rigGuest] = spec
	}
	path := r.runners[srcHost].Specs[rigGuest].Disks[0].Path
	makeImage(t, path) // the guest's part is blank, the rest is what nothing shortens
	rest := make([]byte, (imageMiB-diskMiB)<<20)
	_, err := rand.NewChaCha8([32]byte{}).Read(rest)
	must(t, err)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write(rest)
	must(t, errors.Join(err, f.Close()))
	r.bootDisk()
	quiet := r.serve("no move", func() { time.Sleep(3 * time.Second) })
	from := r.at
	s := r.serve("bumpless", func() {
		if result, _ := r.moveOver("bumpless", serviceLink); result.DiskBytes < int64(len(rest)) {
			t.Errorf("%d bytes of the disk crossed the link; want %d at least", result.DiskBytes, len(rest))
		}
	})
	s.leftAlone(t, "bumpless", quiet)
	r.diskProves(other(from))
}
