package ether

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn is a raw socket on one interface.
type Conn struct {
	fd      int
	name    string
	address Addr

	mu      sync.Mutex // guards closing against Receive
	closed  bool
	buffer  []byte
	control []byte
}

// receiveBuffer holds 2 s of 20 streams at 4800/s: a reader may be stalled.
const receiveBuffer = 32 << 20

// Open opens the interface for frames of the given EtherTypes; all multicast is
// let in.
//
// The socket is bound to every protocol and filtered in the kernel, because one
// bound to 0x88b8 gets tagged frames with the tag silently lost.
func Open(name string, etherTypes ...uint16) (*Conn, error) {
	ifc, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("open interface %s: %w", name, err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open interface %s: raw socket (needs CAP_NET_RAW): %w", name, err)
	}
	c := &Conn{fd: fd, name: name, buffer: make([]byte, MaxFrame+64), control: make([]byte, 256)}
	copy(c.address[:], ifc.HardwareAddr)
	if err := c.configure(ifc.Index, etherTypes); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open interface %s: %w", name, err)
	}
	return c, nil
}

func (c *Conn) configure(index int, etherTypes []uint16) error {
	// Filter first, bind last: no frame of another kind slips in between.
	filter := program(etherTypes)
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(c.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attach the filter: %w", err)
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("PACKET_AUXDATA: %w", err)
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("SO_TIMESTAMPNS: %w", err)
	}
	if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		// Not root in the first user namespace: as much as is allowed.
		if err := unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return fmt.Errorf("SO_RCVBUF: %w", err)
		}
	}
	multicast := unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_ALLMULTI}
	if err := unix.SetsockoptPacketMreq(c.fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &multicast); err != nil {
		return fmt.Errorf("receive multicast: %w", err)
	}
	// A blocked Receive wakes this often to see whether the socket was closed.
	wake := unix.NsecToTimeval(int64(100 * time.Millisecond))
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wake); err != nil {
		return fmt.Errorf("SO_RCVTIMEO: %w", err)
	}
	return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index})
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
	if _, err := unix.Write(c.fd, b); err != nil {
		return fmt.Errorf("send on %s: %w", c.name, err)
	}
	return nil
}

// Receive waits for the next frame. Its Payload is valid until the next call.
// After Close it returns net.ErrClosed; past the deadline (when not zero),
// os.ErrDeadlineExceeded. Only one goroutine may call it.
func (c *Conn) Receive(deadline time.Time) (Frame, error) {
	for {
		if c.isClosed() {
			return Frame{}, net.ErrClosed
		}
		n, oobn, _, _, err := unix.Recvmsg(c.fd, c.buffer, c.control, 0)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			if !deadline.IsZero() && time.Now().After(deadline) {
				return Frame{}, os.ErrDeadlineExceeded
			}
			continue
		case errors.Is(err, unix.ENETDOWN):
			continue // the interface may come back
		case err != nil:
			return Frame{}, fmt.Errorf("receive on %s: %w", c.name, err)
		}
		f, err := DecodeFrame(c.buffer[:n])
		if err != nil {
			continue // the filter lets nothing shorter than a header through
		}
		readControl(c.control[:oobn], &f)
		return f, nil
	}
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

func (c *Conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close ends the socket; a waiting Receive returns within 0.1 s. The
// descriptor itself is released when no Receive can be inside it any more.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	fd := c.fd
	time.AfterFunc(time.Second, func() { unix.Close(fd) })
	return nil
}
