package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
)

// exports are the local disks at the destination.
type exports struct {
	nodes   []string
	socket  string // QEMU's NBD server
	tunnels []*tunnel
}

// start makes QEMU serve the disks to this process.
func (d *destination) startExports(ctx context.Context) error {
	if len(d.cfg.LocalDisks) == 0 {
		return nil
	}
	if n := len(d.cfg.LocalDisks); n > maxLocalDisks {
		return fmt.Errorf("%d local disks, at most %d", n, maxLocalDisks)
	}
	d.exports = exports{nodes: d.cfg.LocalDisks, socket: filepath.Join(filepath.Dir(d.cfg.QMP), "nbd.sock"), tunnels: make([]*tunnel, len(d.cfg.LocalDisks))}
	server := map[string]any{"addr": map[string]any{"type": "unix", "data": map[string]string{"path": d.exports.socket}}}
	if err := d.qemu.Execute(ctx, "nbd-server-start", server, nil); err != nil {
		return err
	}
	for _, node := range d.exports.nodes {
		export := map[string]any{"type": "nbd", "id": exportID(node), "node-name": node, "name": node, "writable": true}
		if err := d.qemu.Execute(ctx, "block-export-add", export, nil); err != nil {
			return err
		}
	}
	return nil
}

// seatDisk gives a disk's connection to QEMU's server.
func (d *destination) seatDisk(c caller) error {
	i := c.hello.Disk - 1
	if i >= len(d.exports.tunnels) || d.exports.tunnels[i] != nil {
		return fmt.Errorf("a connection for disk %d of %d", c.hello.Disk, len(d.exports.tunnels))
	}
	t, err := newTunnel(c.conn, c.raw)
	if err != nil {
		return err
	}
	local, err := net.DialTimeout("unix", d.exports.socket, dialTimeout)
	if err != nil {
		return fmt.Errorf("connect to QEMU's NBD server: %w", err)
	}
	d.exports.tunnels[i] = t
	// How it ends does not matter here: it is the source that knows whether its
	// mirror was complete.
	go func() { _ = t.carry(local) }()
	return nil
}

// sameDisks refuses a source with other disks: one of the two would wait in vain.
func (d *destination) sameDisks(h hello) error {
	if h.Disks != len(d.cfg.LocalDisks) {
		return fmt.Errorf("the source has %d local disks, here are %d: the hosts' site files differ", h.Disks, len(d.cfg.LocalDisks))
	}
	return nil
}

// missing counts the connections that have not come; 1 when nobody knows yet.
func (d *destination) missing() (n int) {
	if d.seats == nil {
		return 1
	}
	for _, s := range d.seats {
		if !s.taken() {
			n++
		}
	}
	for _, t := range d.exports.tunnels {
		if t == nil {
			n++
		}
	}
	return n
}

// endExports takes the disks back from the source, before READY: once the guest
// runs here nobody else may write to them.
func (d *destination) endExports(ctx context.Context) error {
	if len(d.exports.nodes) == 0 {
		return nil
	}
	if err := d.qemu.Execute(ctx, "nbd-server-stop", nil, nil); err != nil {
		return err
	}
	d.exports.cut()
	var left []struct {
		ID string `json:"id"`
	}
	if err := d.qemu.Execute(ctx, "query-block-exports", nil, &left); err != nil {
		return err
	}
	if len(left) > 0 {
		return errors.New("the disks are still exported: " + left[0].ID)
	}
	return nil
}

func (e *exports) cut() {
	for _, t := range e.tunnels {
		if t != nil {
			t.cut()
		}
	}
}
