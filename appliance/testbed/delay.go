package testbed

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Delay adds oneWay to the way of every frame between a host and a LAN, in each
// direction, until stop is called. Kernels without netem have no such link; here
// frames pass through two taps, whole as TCP's segmentation offload leaves them
// (64 KiB), so that 1 Gbit/s costs some 2000 reads a second.
//
//	port -- bridge -- tap ==held for oneWay==> tap -- LAN
func (b *Bed) Delay(host, lan string, oneWay time.Duration) (stop func() error, err error) {
	d := &delay{bridge: "d-" + Port(host, lan)}
	stop = func() error {
		err := b.Heal(host, lan)
		return errors.Join(err, d.close())
	}
	if err := d.open(host, lan); err != nil {
		return nil, errors.Join(fmt.Errorf("delay the link of %s: %w", host, err), stop())
	}
	d.running.Add(2)
	go d.carry(d.near, d.far, oneWay)
	go d.carry(d.far, d.near, oneWay)
	return stop, nil
}

// delay is a link with a delay.
type delay struct {
	bridge    string
	near, far *os.File // taps: beside the host's port, in the LAN
	running   sync.WaitGroup
}

func (d *delay) open(host, lan string) error {
	port := Port(host, lan)
	if err := ip("link add", d.bridge, "type bridge stp_state 0 mcast_snooping 0 forward_delay 0"); err != nil {
		return err
	}
	var err error
	if d.near, err = openLinkTap("n-"+port, d.bridge); err != nil {
		return err
	}
	if d.far, err = openLinkTap("f-"+port, lan); err != nil {
		return err
	}
	if err := ip("link set", d.bridge, "up"); err != nil {
		return err
	}
	return ip("link set", port, "master", d.bridge, "up")
}

func (d *delay) close() error {
	var errs []error
	for _, tap := range []*os.File{d.near, d.far} {
		if tap != nil {
			errs = append(errs, tap.Close()) // its interface goes with it
		}
	}
	d.running.Wait()
	return errors.Join(append(errs, ip("link del", d.bridge))...)
}

// openLinkTap makes a tap that takes and gives unsegmented frames.
func openLinkTap(name, bridge string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make tap %s: /dev/net/tun: %w", name, err)
	}
	if err := configureLinkTap(fd, name); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make tap %s: %w", name, err)
	}
	tap := os.NewFile(uintptr(fd), name) // only now: an unattached tap cannot be polled
	if err := ip("link set", name, "master", bridge, "up"); err != nil {
		tap.Close()
		return nil, err
	}
	return tap, nil
}

// Offloads that a frame's virtio_net_hdr describes (linux/if_tun.h).
const tunOffloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6

func configureLinkTap(fd int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, tunOffloads); err != nil {
		return fmt.Errorf("TUNSETOFFLOAD: %w", err)
	}
	return nil
}

// maxFrame is a frame of the largest IP packet, with its virtio_net_hdr.
const maxFrame = 64<<10 + 64

// maxHeld frames are on their way at a time: more than 1 Gbit/s has in 100 ms,
// even in frames that were not put together.
const maxHeld = 10_000

// held is a frame on its way.
type held struct {
	due   time.Time
	frame []byte
}

func (d *delay) carry(from, to *os.File, oneWay time.Duration) {
	defer d.running.Done()
	queue := make(chan held, maxHeld)
	d.running.Add(1)
	go func() {
		defer d.running.Done()
		for h := range queue {
			time.Sleep(time.Until(h.due))
			_, _ = to.Write(h.frame) // a link may lose a frame
		}
	}()
	defer close(queue)
	buffer := make([]byte, maxFrame)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return // closed
		}
		select {
		case queue <- held{time.Now().Add(oneWay), append([]byte(nil), buffer[:n]...)}:
		default: // a queue that is full drops, as a switch's does
		}
	}
}
