package testbed

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mountDirs gives a host its empty run directory, and its disk at DiskDir.
func mountDirs(disk string) error {
	if err := unix.Mount("run", RunDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"); err != nil {
		return fmt.Errorf("mount the run directory: %w", err)
	}
	if err := os.Mkdir(DiskDir, 0o700); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	if err := unix.Mount(disk, DiskDir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the disk: %w", err)
	}
	return nil
}
