package guest

import (
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Tap is the name of a copy's interface, which is there from Start on for as long as its
// QEMU lives.
func (r *Runner) Tap(guest string, epoch uint64) string {
	return tapName(filepath.Base(r.dir(guest, epoch)))
}

// tapName is the name of a copy's tap: two copies of a guest never share one.
func tapName(copyDir string) string {
	return fmt.Sprintf("tap%08x", crc32.ChecksumIEEE([]byte(copyDir)))
}

// openTap makes a tap, brings it up and joins it to the bridge. It exists for
// as long as somebody holds the file (linux/Documentation/networking/tuntap.rst).
func openTap(name, bridge string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make tap %s: /dev/net/tun: %w (is the module tun loaded?)", name, err)
	}
	tap := os.NewFile(uintptr(fd), name)
	if err := configureTap(fd, name, bridge); err != nil {
		tap.Close()
		return nil, fmt.Errorf("make tap %s on bridge %s: %w", name, bridge, err)
	}
	return tap, nil
}

func configureTap(fd int, name, bridge string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return fmt.Errorf("TUNSETIFF: %w", err)
	}
	control, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(control)
	tap, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	if request, err = unix.NewIfreq(bridge); err != nil {
		return err
	}
	request.SetUint32(uint32(tap.Index))
	if err := unix.IoctlIfreq(control, unix.SIOCBRADDIF, request); err != nil {
		return fmt.Errorf("join the bridge: %w", err)
	}
	if request, err = unix.NewIfreq(name); err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(control, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("bring it up: %w", err)
	}
	return nil
}
