package testbed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"bumpless/iec61850/ether"
	"bumpless/iec61850/goose"
	"bumpless/iec61850/sv"
)

// Service is a GOOSE and an SV stream from one host to another over one LAN. Each
// frame is seen twice, where it enters the LAN and where it has come through, so
// that what the LAN did to it is known apart from what this machine's scheduler
// did to its sender.
type Service struct {
	conns            []*ether.Conn
	stop             chan struct{}
	playing, hearing sync.WaitGroup
	samples, states  crossings

	mu     sync.Mutex
	failed error
}

const (
	serviceRate = 4000    // SV frames per second, one sample each: 80 samples a cycle at 50 Hz
	serviceMost = 1 << 20 // frames of a stream that are kept: four minutes of SV
	// straggle is how long the last frames may take to come through.
	straggle = 300 * time.Millisecond
)

// gooseGaps are the times between GOOSE frames, again and again.
var gooseGaps = []time.Duration{4 * time.Millisecond, 8 * time.Millisecond, 16 * time.Millisecond, 20 * time.Millisecond}

// crossings of one stream: when each frame entered the LAN and left it, by its
// number, in ns; 0: not seen.
type crossings struct {
	mu            sync.Mutex
	entered, left []int64
}

func (c *crossings) saw(n uint32, at time.Time, left bool) {
	if n >= serviceMost {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := &c.entered
	if left {
		list = &c.left
	}
	for len(*list) <= int(n) {
		*list = append(*list, 0)
	}
	(*list)[n] = at.UnixNano()
}

// NewService begins to play from one host to the other.
func NewService(from, to *Host, lan string) (*Service, error) {
	s := &Service{stop: make(chan struct{})}
	open := func(h *Host, name string, types ...uint16) (c *ether.Conn, err error) {
		f := func() error { c, err = ether.Open(name, types...); return err }
		if h == nil {
			err = f()
		} else {
			err = h.InNetwork(f)
		}
		if err == nil {
			s.conns = append(s.conns, c)
		}
		return c, err
	}
	out, err1 := open(from, lan)
	enters, err2 := open(nil, Port(from.Name, lan), sv.EtherType, goose.EtherType)
	leaves, err3 := open(to, lan, sv.EtherType, goose.EtherType)
	if err := errors.Join(err1, err2, err3); err != nil {
		s.closeAll()
		return nil, fmt.Errorf("start a service from %s to %s: %w", from.Name, to.Name, err)
	}
	s.hearing.Add(2)
	go s.hear(enters, false)
	go s.hear(leaves, true)
	s.playing.Add(2)
	go s.play(func(n int) time.Duration { return time.Duration(n) * time.Second / serviceRate }, func(n int) (ether.Frame, error) {
		// The running number is the first channel's value: smpCnt is the same again each second.
		values := [sv.Channels]sv.Measurement{{Value: int32(n)}}
		payload, err := sv.Marshal(sv.Frame{APPID: 0x4002, ASDUs: []sv.ASDU{{SvID: "BUSA", SmpCnt: uint16(n % serviceRate), ConfRev: 1, SmpSynch: 2, SeqData: sv.EncodePhsMeas(values)}}})
		return ether.Frame{Dst: svDestination, EtherType: sv.EtherType, Payload: payload}, err
	}, out)
	go s.play(gooseDue, func(n int) (ether.Frame, error) {
		payload, err := goose.Marshal(goose.Frame{APPID: 0x1002, PDU: goose.PDU{GocbRef: "BUSALD0/LLN0$GO$gcb", TimeAllowedToLiveMs: 60, DatSet: "BUSALD0/LLN0$ds",
			StNum: 1, SqNum: uint32(n), ConfRev: 1, AllData: []goose.Data{{Kind: goose.Boolean, Bool: true}}}})
		return ether.Frame{Dst: ether.Addr{0x01, 0x0c, 0xcd, 0x01, 0x00, 0x02}, EtherType: goose.EtherType, Payload: payload}, err
	}, out)
	return s, nil
}

func gooseDue(n int) (at time.Duration) {
	for _, gap := range gooseGaps {
		at += gap * time.Duration(n/len(gooseGaps))
	}
	for _, gap := range gooseGaps[:n%len(gooseGaps)] {
		at += gap
	}
	return at
}

// play sends frame n when it is due; one that is late is sent at once.
func (s *Service) play(due func(n int) time.Duration, frame func(n int) (ether.Frame, error), out *ether.Conn) {
	defer s.playing.Done()
	start := time.Now()
	for n := 0; ; n++ {
		select {
		case <-s.stop:
			return
		case <-time.After(time.Until(start.Add(due(n)))):
		}
		f, err := frame(n)
		f.VLAN = ether.VLAN{Present: true, Priority: 4}
		if err == nil {
			err = out.Send(f)
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Service) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = errors.Join(s.failed, err)
}

func (s *Service) hear(c *ether.Conn, left bool) {
	defer s.hearing.Done()
	for {
		f, err := c.Receive(time.Time{})
		if err == nil {
			err = s.saw(f, left)
		} else if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Service) saw(f ether.Frame, left bool) error {
	if f.EtherType == goose.EtherType {
		g, err := goose.Unmarshal(f.Payload)
		if err == nil {
			s.states.saw(g.PDU.SqNum, f.Received, left)
		}
		return err
	}
	m, err := sv.Unmarshal(f.Payload)
	if err == nil {
		s.samples.saw(binary.BigEndian.Uint32(m.ASDUs[0].SeqData), f.Received, left)
	}
	return err
}

// Close ends the service; its figures stay.
func (s *Service) Close() error {
	select {
	case <-s.stop:
		return s.failed
	default:
	}
	close(s.stop)
	s.playing.Wait()
	time.Sleep(straggle)
	s.closeAll()
	s.hearing.Wait()
	return s.failed
}

func (s *Service) closeAll() {
	for _, c := range s.conns {
		_ = c.Close() // it only ends a socket
	}
}

// Crossing is what a LAN did to one stream's frames that entered it during some
// time.
type Crossing struct {
	Frames, Lost  int
	Median, Most  time.Duration // from where a frame entered to where it left
	P999          time.Duration
	LargestGap    time.Duration // between two frames that left, one after the other
	LargestEnters time.Duration // the same where they entered: the sender's own
}

func (c Crossing) String() string {
	return fmt.Sprintf("%d frames, %d lost, on their way %v (median), %v (99.9 %%), %v (most); largest gap %v, at the sender %v",
		c.Frames, c.Lost, c.Median, c.P999, c.Most, c.LargestGap, c.LargestEnters)
}

// Between judges frames that entered from one moment to another, once the
// service is closed.
func (s *Service) Between(from, to time.Time) (samples, states Crossing) {
	return s.samples.between(from, to), s.states.between(from, to)
}

func (c *crossings) between(from, to time.Time) (r Crossing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var took, entered, left []int64
	for n, at := range c.entered {
		if at < from.UnixNano() || at > to.UnixNano() {
			continue
		}
		r.Frames++
		entered = append(entered, at)
		if n >= len(c.left) || c.left[n] == 0 {
			r.Lost++
			continue
		}
		left = append(left, c.left[n])
		took = append(took, c.left[n]-at)
	}
	slices.Sort(took)
	if len(took) > 0 {
		r.Median, r.P999, r.Most = time.Duration(took[len(took)/2]), time.Duration(took[len(took)*999/1000]), time.Duration(took[len(took)-1])
	}
	r.LargestGap, r.LargestEnters = largestGap(left), largestGap(entered)
	return r
}

func largestGap(at []int64) (gap time.Duration) {
	slices.Sort(at) // a veth may reorder
	for i := 1; i < len(at); i++ {
		gap = max(gap, time.Duration(at[i]-at[i-1]))
	}
	return gap
}
