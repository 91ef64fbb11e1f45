package node

import (
	"context"
)

// serveConsole serves the serial port, the last way in.
func (n *Node) serveConsole(ctx context.Context) { _ = ctx }
