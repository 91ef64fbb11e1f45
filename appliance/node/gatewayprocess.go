package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"bumpless/migrate/gateway"
	"bumpless/migrate/gateway/child"
)

// gatewayProcess is a gateway of a move. It stays in the daemon's session, and ends
// with it only before COMMIT.
type gatewayProcess struct {
	*child.Gateway
	// arrival of the guest, where this is its destination's; nil at a source.
	arrival *gateway.Arrival
}

// spawnGateway starts a gateway that waits to begin.
func spawnGateway(binary, role, moveDir string) (*gatewayProcess, error) {
	g, err := child.Start(binary, role, moveDir, nil)
	if err != nil {
		return nil, err
	}
	if err := writePID(filepath.Join(moveDir, role+".pid"), g.Cmd.Process.Pid); err != nil {
		g.End()
		return nil, fmt.Errorf("start the %s gateway: %w", role, err)
	}
	return &gatewayProcess{Gateway: g}, nil
}

func writePID(path string, pid int) error {
	return os.WriteFile(path, []byte(strconv.Itoa(pid)+"\n"), 0o600)
}
