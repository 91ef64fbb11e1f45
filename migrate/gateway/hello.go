package gateway

import (
	"encoding/json"
	"fmt"

	"bumpless/migrate/link"
)

// hello opens every connection, from the source; the destination answers on
// connection 0.
type hello struct {
	Version    int    `json:"version"`
	Move       string `json:"move"`
	Guest      string `json:"guest"`
	Connection int    `json:"connection"`  // 0 to Connections-1
	Total      int    `json:"connections"` // 1 to maxConnections
	Key        []byte `json:"key,omitempty"`
	// Disks is the number of local disks. Disk, from 1, makes this the connection
	// for one of them, beside those that are counted: NBD follows the answer.
	Disks int `json:"disks,omitempty"`
	Disk  int `json:"disk,omitempty"`
	// Slots of each connection that the sender would keep contents in, for
	// deltas; the smaller number counts. A peer that does not know of them says
	// nothing: 0.
	Slots int `json:"slots,omitempty"`
	// Kinds is the last kind of page that the sender knows; the smaller one
	// counts. A peer that says nothing knows those up to link.Delta.
	Kinds int `json:"kinds,omitempty"`
	// Pings: the destination answers PING. A peer that says nothing gets none.
	Pings bool `json:"pings,omitempty"`
	// WakingMs is how long a guest is not heard after it runs at the destination,
	// which says it. 0: it does not know.
	WakingMs int `json:"waking_ms,omitempty"`
}

// kinds that both ends know, up to the one that is returned.
func (h hello) kinds() link.Kind {
	return link.Kind(max(int(link.Delta), min(h.Kinds, int(link.LastKind))))
}

// slotsFor is how many contents each of so many connections keeps.
func slotsFor(deltaCacheMiB int, ram uint64, connections int) int {
	bytes := uint64(deltaCacheMiB) << 20
	switch {
	case deltaCacheMiB < 0:
		return 0
	case deltaCacheMiB == 0:
		bytes = ram / deltaShare
	}
	return int(bytes / link.PageSize / uint64(connections))
}

// deltaShare: a fresh Debian guest has content in 21 % of its RAM, a busy one in
// half of it or more.
const deltaShare = 2

const maxConnections = 16

func writeHello(c link.Conn, h hello) error {
	h.Version = link.Version
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return link.Write(c, link.Frame{Type: link.Hello, Body: b})
}

// readHello reads the peer's hello and checks that it is about this move.
func readHello(r *link.Reader, move, guest string) (hello, error) {
	f, err := r.Read()
	if err != nil {
		return hello{}, fmt.Errorf("read HELLO: %w", err)
	}
	if f.Type == link.Abort {
		return hello{}, fmt.Errorf("the peer refuses: %s", f.Body)
	}
	var h hello
	if f.Type != link.Hello {
		return h, fmt.Errorf("read HELLO: a %s frame came", f.Type)
	}
	if err := json.Unmarshal(f.Body, &h); err != nil {
		return h, fmt.Errorf("read HELLO: %w", err)
	}
	if h.Version != link.Version {
		return h, fmt.Errorf("read HELLO: the peer speaks version %d of the link, this host %d: bring both hosts to neighbouring releases", h.Version, link.Version)
	}
	if h.Move != move || h.Guest != guest {
		return h, fmt.Errorf("read HELLO: the peer means move %q of guest %q, this is move %q of guest %q", h.Move, h.Guest, move, guest)
	}
	if h.Total < 1 || h.Total > maxConnections || h.Connection < 0 || h.Connection >= h.Total || h.Slots < 0 {
		return h, fmt.Errorf("read HELLO: connection %d of %d with %d slots, want at most %d", h.Connection, h.Total, h.Slots, maxConnections)
	}
	if h.Disks < 0 || h.Disks > maxLocalDisks || h.Disk < 0 || h.Disk > h.Disks {
		return h, fmt.Errorf("read HELLO: disk %d of %d, want at most %d", h.Disk, h.Disks, maxLocalDisks)
	}
	if h.WakingMs < 0 || h.WakingMs > MaxWakingMs {
		return h, fmt.Errorf("read HELLO: the guest is heard after %d ms, want at most %d", h.WakingMs, MaxWakingMs)
	}
	return h, nil
}
