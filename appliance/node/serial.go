package node

import (
	"context"

	"bumpless/appliance/console"
)

// serveConsole serves the serial port, the last way in, when the host has one.
// Orders go to this daemon directly, with the role that the site file gives to
// whoever sits at the port.
func (n *Node) serveConsole(ctx context.Context) {
	c := n.self.Console
	if c.Device == "" {
		return
	}
	id := console.Identity{Site: n.site.Site, Host: n.self.Name, Role: c.Role}
	console.Serve(ctx, c.Device, c.Baud, id, n, n.log.With("part", "console"))
}
