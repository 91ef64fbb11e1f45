package testbed

import (
	"fmt"
	"sync"
	"time"

	"bumpless/iec61850/ether"
	"bumpless/iec61850/sv"
)

// MergingUnit plays a Sampled Values stream onto the station bus: sine waves of
// nominal current and voltage, which trip no relay.
type MergingUnit struct {
	conn *ether.Conn
	stop chan struct{}
	done sync.WaitGroup
}

// samplesPerFrame: a guest under emulation takes an interrupt for each frame,
// and one sample a frame would be all that it does.
const samplesPerFrame = 8

var svDestination = ether.Addr{0x01, 0x0c, 0xcd, 0x04, 0x00, 0x01}

const muPort, muInside = "mu.bus", "mu"

// NewMergingUnit begins to play. rate is in samples per second.
func NewMergingUnit(svID string, rate uint16) (*MergingUnit, error) {
	if err := ip("link add", muPort, "type veth peer name", muInside); err != nil {
		return nil, err
	}
	if err := ip("link set", muPort, "master", Bus, "up"); err != nil {
		return nil, err
	}
	if err := ip("link set", muInside, "up"); err != nil {
		return nil, err
	}
	conn, err := ether.Open(muInside) // for sending: it lets no frame in
	if err != nil {
		return nil, fmt.Errorf("start the merging unit: %w", err)
	}
	m := &MergingUnit{conn: conn, stop: make(chan struct{})}
	m.done.Add(1)
	go m.play(svID, rate)
	return m, nil
}

// Close ends the stream and removes its port.
func (m *MergingUnit) Close() error {
	close(m.stop)
	m.done.Wait()
	if err := m.conn.Close(); err != nil {
		return err
	}
	return ip("link del", muPort)
}

func (m *MergingUnit) play(svID string, rate uint16) {
	defer m.done.Done()
	period := samplesPerFrame * time.Second / time.Duration(rate)
	start, sent := time.Now(), 0
	for {
		wait := time.Until(start.Add(time.Duration(sent) * period))
		select {
		case <-m.stop:
			return
		case <-time.After(wait):
		}
		if payload, err := sv.Marshal(samples(svID, rate, sent*samplesPerFrame)); err == nil {
			// A full queue loses a frame, as a real bus does: the guest counts it.
			_ = m.conn.Send(ether.Frame{Dst: svDestination, VLAN: ether.VLAN{Present: true, Priority: 4}, EtherType: sv.EtherType, Payload: payload})
		}
		sent++
	}
}

func samples(svID string, rate uint16, first int) sv.Frame {
	f := sv.Frame{APPID: 0x4001}
	for i := range samplesPerFrame {
		n := (first + i) % int(rate)
		f.ASDUs = append(f.ASDUs, sv.ASDU{SvID: svID, SmpCnt: uint16(n), ConfRev: 1, SmpSynch: 2, SeqData: sv.EncodePhsMeas(waves(float64(n) / float64(rate)))})
	}
	return f
}
