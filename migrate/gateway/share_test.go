package gateway

import (
	"math"
	"testing"
	"time"
)

const mbit = 1e6 / 8 // bytes per second

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*max(1, math.Abs(a), math.Abs(b)) }

func TestAMoveLeavesTheReserveOrWhatTheServiceTakes(t *testing.T) {
	for _, c := range []struct {
		name                       string
		capacity, reserve, service float64 // Mbit/s
		known                      bool
		kept, allowed              float64 // Mbit/s on the wire
	}{
		{"no service", 200, 10, 0, true, 10, 190},
		{"a service within the reserve", 200, 10, 6, true, 10, 190},
		{"a service that fills the reserve gets headroom", 200, 10, 10, true, 12.5, 187.5},
		{"headroom is no more than the reserve", 200, 10, 100, true, 110, 90},
		{"no reserve, no headroom", 200, 0, 100, true, 100, 100},
		{"a service that takes it all leaves a trickle", 200, 10, 200, true, 210, 2},
		{"not measured yet", 200, 10, 0, false, 100, 100},
		{"not measured yet, a large reserve", 200, 150, 0, false, 150, 50},
	} {
		s := share{capacity: c.capacity * mbit, reserve: c.reserve * mbit, service: c.service * mbit, known: c.known}
		if got := s.kept() / mbit; !near(got, c.kept) {
			t.Errorf("%s: kept() = %.3f Mbit/s; want %.3f", c.name, got, c.kept)
		}
		if got := s.allowed() / mbit / payloadShare; !near(got, c.allowed) {
			t.Errorf("%s: allowed() = %.3f Mbit/s on the wire; want %.3f", c.name, got, c.allowed)
		}
	}
}

func TestARiseOfTheServiceCountsSoonerThanAFall(t *testing.T) {
	s := share{capacity: 200 * mbit, reserve: 10 * mbit}
	window := func(mbits float64) { s.measured(50*time.Millisecond, mbits*mbit) }
	if window(20); !near(s.service, 20*mbit) {
		t.Errorf("after the first window: %.1f Mbit/s; want it taken as it is, 20", s.service/mbit)
	}
	for range 4 {
		window(60)
	}
	if got := s.service / mbit; got < 58 || got > 60 {
		t.Errorf("200 ms after a rise from 20 to 60: %.1f Mbit/s; want 58 to 60", got)
	}
	for range 4 {
		window(20)
	}
	if got := s.service / mbit; got < 45 || got > 50 {
		t.Errorf("200 ms after a fall from 60 to 20: %.1f Mbit/s; want 45 to 50", got)
	}
}

// One window of 100 ms moves the estimate as two of 50 ms do: a late look is no
// other look.
func TestSmoothingGoesByTimeNotByWindows(t *testing.T) {
	once, twice := share{service: 10, known: true}, share{service: 10, known: true}
	once.measured(100*time.Millisecond, 50)
	twice.measured(50*time.Millisecond, 50)
	twice.measured(50*time.Millisecond, 50)
	if !near(once.service, twice.service) {
		t.Errorf("one window: %.6f; two: %.6f; want the same", once.service, twice.service)
	}
}

func TestWhatIsAllowedIsSharedOutAndNeverExceeded(t *testing.T) {
	for _, c := range []struct {
		name                string
		at                  stage
		used                float64
		memory, disks       int
		eachMemory, eachDsk float64
	}{
		{"memory alone", together, 0, 4, 0, 25, 0},
		{"a LAN that has a disk's connection only", together, 0, 0, 2, 0, 50},
		{"disks are copied first", disksFirst, 0, 1, 3, 6.25, 31.25},
		{"idle disks keep a little", together, 0, 2, 1, 46.875, 6.25},
		{"busy disks may grow", together, 0.2, 2, 1, 35, 30},
		{"disks get no more than half", together, 0.5, 2, 1, 25, 50},
		{"the mirrors' end", handingOver, 0, 2, 1, 25, 50},
		{"after it", memoryOnly, 0.5, 2, 1, 46.875, 6.25},
	} {
		m, d := divide(100, disksPart(c.at, c.used), c.memory, c.disks)
		if !near(m, c.eachMemory) || !near(d, c.eachDsk) {
			t.Errorf("%s: divide() = %.3f, %.3f; want %.3f, %.3f", c.name, m, d, c.eachMemory, c.eachDsk)
		}
		if sum := m*float64(c.memory) + d*float64(c.disks); sum > 100*(1+1e-9) {
			t.Errorf("%s: the connections have %.3f of 100", c.name, sum)
		}
	}
}

func TestTheServicesTrafficIsWhatIsNotOurs(t *testing.T) {
	for _, c := range []struct {
		name string
		w    traffic
		want float64 // bytes on the wire
	}{
		{"nothing", traffic{}, 0},
		{"no move: 100 frames of 120 bytes", traffic{bytes: 12_000, packets: 100}, 100 * (120 + 24)},
		{"ours, as it is on the wire", traffic{bytes: 1514 * 1000, packets: 1000, ours: 1448 * 1000, segments: 1000}, 0},
		{"both", traffic{bytes: 1514*1000 + 12_000, packets: 1100, ours: 1448 * 1000, segments: 1000}, 100 * (120 + 24)},
		{"ours, counted before it is split", traffic{bytes: 14_546 * 100, packets: 100, ours: 1448 * 1000, segments: 1000}, 100 * (66 + 24)},
		{"what TCP has sent is counted later", traffic{bytes: 0, packets: 0, ours: 1448, segments: 1}, 0},
	} {
		if got := c.w.service(); !near(got, c.want) {
			t.Errorf("%s: service() = %.0f bytes; want %.0f", c.name, got, c.want)
		}
	}
}
