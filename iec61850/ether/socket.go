package ether

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn is a raw socket on one interface.
type Conn struct {
	// file gives the descriptor to the runtime's poller, which wakes Receive at
	// its deadline and on Close, and never lets a call use a descriptor that
	// was closed and given to somebody else.
	file    *os.File
	raw     syscall.RawConn
	name    string
	address Addr
	closed  atomic.Bool

	// Of Receive, which one goroutine calls at a time.
	deadline time.Time
	buffer   []byte
	control  []byte
	attempt  func(fd uintptr) bool // made once, so that a frame costs no allocation
	n, oobn  int                   // what the last attempt brought
	err      error
}

// maxEtherTypes keeps the jumps of the filter within their 8 bits.
const maxEtherTypes = 64

// receiveBuffer holds 2 s of 20 streams at 4800/s: a reader may be stalled.
const receiveBuffer = 32 << 20

// Open opens the interface for frames of the given EtherTypes; all multicast is
// let in. Without EtherTypes it only sends.
//
// The socket is bound to every protocol and filtered in the kernel, because one
// bound to 0x88b8 gets tagged frames with the tag silently lost.
func Open(name string, etherTypes ...uint16) (*Conn, error) {
	if len(etherTypes) > maxEtherTypes {
		return nil, fmt.Errorf("open interface %s: %d EtherTypes, at most %d", name, len(etherTypes), maxEtherTypes)
	}
	ifc, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("open interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open interface %s: raw socket (needs CAP_NET_RAW): %w", name, err)
	}
	if err := configure(fd, ifc.Index, etherTypes); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open interface %s: %w", name, err)
	}
	c := &Conn{file: os.NewFile(uintptr(fd), name), name: name, buffer: make([]byte, MaxFrame+64), control: make([]byte, 256)}
	copy(c.address[:], ifc.HardwareAddr)
	c.attempt = c.receiveNow
	if c.raw, err = c.file.SyscallConn(); err != nil {
		c.file.Close()
		return nil, fmt.Errorf("open interface %s: %w", name, err)
	}
	return c, nil
}

func configure(fd, index int, etherTypes []uint16) error {
	// Filter first, bind last: no frame of another kind slips in between.
	filter := program(etherTypes)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach the filter: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("PACKET_AUXDATA: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("SO_TIMESTAMPNS: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		// Not root in the first user namespace: as much as is allowed.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return fmt.Errorf("SO_RCVBUF: %w", err)
		}
	}
	multicast := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_ALLMULTI}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &multicast); err != nil {
		return fmt.Errorf("receive multicast: %w", err)
	}
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index})
}

// program accepts frames of the EtherTypes that came in (not our own). The
// kernel has taken the VLAN tag off before a filter sees the frame.
func program(etherTypes []uint16) []unix.SockFilter {
	const (
		loadHalf = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		ret      = unix.BPF_RET | unix.BPF_K
		skfType  = 0xfffff000 + 4 // SKF_AD_OFF + SKF_AD_PKTTYPE
	)
	n := len(etherTypes)
	p := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: skfType},
		{Code: equal, K: unix.PACKET_OUTGOING, Jt: uint8(n + 1)}, // to the reject
		{Code: loadHalf, K: 12},
	}
	for i, t := range etherTypes {
		p = append(p, unix.SockFilter{Code: equal, K: uint32(t), Jt: uint8(n - i)}) // to the accept
	}
	return append(p, unix.SockFilter{Code: ret, K: 0}, unix.SockFilter{Code: ret, K: 0x40000})
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

// Address of the interface.
func (c *Conn) Address() Addr { return c.address }

// Send sends one frame. A zero Src becomes the interface's address.
func (c *Conn) Send(f Frame) error {
	if f.Src == (Addr{}) {
		f.Src = c.address
	}
	b, err := AppendFrame(make([]byte, 0, 18+len(f.Payload)), f)
	if err != nil {
		return err
	}
	err = c.write(b)
	if errors.Is(err, unix.ENETDOWN) {
		// The kernel tells once that the interface was down, even if it is up
		// again: this frame must not be lost for it.
		err = c.write(b)
	}
	if err != nil {
		return c.failed("send", err)
	}
	return nil
}

func (c *Conn) write(b []byte) error {
	var sent error
	err := c.raw.Write(func(fd uintptr) bool {
		_, sent = unix.Write(int(fd), b)
		return !errors.Is(sent, unix.EAGAIN)
	})
	if err != nil {
		return err
	}
	return sent
}

func (c *Conn) failed(what string, err error) error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	return fmt.Errorf("%s on %s: %w", what, c.name, err)
}

// Receive waits for the next frame. Its Payload is valid until the next call.
// After Close it returns net.ErrClosed; past the deadline (when not zero),
// os.ErrDeadlineExceeded, even if a frame waits. Only one goroutine may call it.
func (c *Conn) Receive(deadline time.Time) (Frame, error) {
	if deadline != c.deadline {
		if err := c.file.SetReadDeadline(deadline); err != nil {
			return Frame{}, c.failed("receive", err)
		}
		c.deadline = deadline
	}
	for {
		err := c.raw.Read(c.attempt)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return Frame{}, os.ErrDeadlineExceeded
		case err != nil:
			return Frame{}, c.failed("receive", err)
		case errors.Is(c.err, unix.ENETDOWN):
			continue // told once; the interface may come back
		case c.err != nil:
			return Frame{}, c.failed("receive", c.err)
		}
		f, err := DecodeFrame(c.buffer[:c.n])
		if err != nil {
			continue // longer than any frame: the filter passes no shorter one
		}
		readControl(c.control[:c.oobn], &f)
		return f, nil
	}
}

// receiveNow tells the poller whether it got something, a frame or an error.
func (c *Conn) receiveNow(fd uintptr) bool {
	c.n, c.oobn, _, _, c.err = unix.Recvmsg(int(fd), c.buffer, c.control, 0)
	return !errors.Is(c.err, unix.EAGAIN)
}

// readControl takes the VLAN tag and the time stamp out of the ancillary data.
func readControl(oob []byte, f *Frame) {
	for len(oob) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return
		}
		switch {
		case header.Level == unix.SOL_PACKET && header.Type == unix.PACKET_AUXDATA && len(data) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})):
			// struct tpacket_auxdata: status, len, snaplen (u32), mac, net, tci, tpid (u16)
			status := binary.NativeEndian.Uint32(data)
			if status&unix.TP_STATUS_VLAN_VALID != 0 {
				f.VLAN = vlanOf(binary.NativeEndian.Uint16(data[16:]))
			}
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SO_TIMESTAMPNS && len(data) >= 16:
			f.Received = time.Unix(int64(binary.NativeEndian.Uint64(data)), int64(binary.NativeEndian.Uint64(data[8:])))
		}
		oob = rest
	}
}

// Close ends the socket. A waiting Receive returns at once; twice is harmless.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	return c.file.Close()
}
