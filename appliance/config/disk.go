package config

import (
	"fmt"
	"path/filepath"
	"slices"
)

// Disk of a guest.
type Disk struct {
	// Path of the image, or of a block device: the same on every server, and
	// of one guest only. The file system must have locks and direct I/O.
	// Required.
	Path string `yaml:"path"`
	// Kind: shared, every server reaches the same image (NFS 4, a SAN); QEMU's
	// lock on it goes along with the guest. local, each server has an image of
	// its own; the content is sent along with a move, within move.timeout_s, and
	// after the sudden loss of a server the guest cannot be started elsewhere:
	// what it wrote is there only. Required.
	Kind string `yaml:"kind"`
	// Format: raw (default) or qcow2.
	Format string `yaml:"format"`
	// SizeMiB of a local disk, 1 to 16777216: it is made, with this size, at a
	// move's destination, and replaces what an earlier stay left there. It must
	// be the size of the image that the guest begins with. Required for a local
	// disk, and none of a shared one, which nobody makes.
	SizeMiB int `yaml:"size_mib"`
}

// Kinds and formats of disks.
const (
	DiskShared  = "shared"
	DiskLocal   = "local"
	FormatRaw   = "raw"
	FormatQcow2 = "qcow2"
)

const maxDisks = 8

func (c *checker) disks(at string, disks []Disk, seen map[string]string) {
	c.must(len(disks) <= maxDisks, at, "%d disks, at most %d", len(disks), maxDisks)
	for i, d := range disks {
		c.disk(fmt.Sprintf("%s[%d]", at, i), d, seen)
	}
}

func (c *checker) disk(at string, d Disk, seen map[string]string) {
	c.path(at+".path", d.Path, maxPath)
	if d.Path != "" {
		c.unique(at+".path", "disk", filepath.Clean(d.Path), seen)
	}
	c.must(d.Kind == DiskShared || d.Kind == DiskLocal, at+".kind", "%.60q, want %s or %s", d.Kind, DiskShared, DiskLocal)
	c.must(slices.Contains([]string{FormatRaw, FormatQcow2}, d.Format), at+".format", "%.60q, want %s or %s", d.Format, FormatRaw, FormatQcow2)
	switch d.Kind {
	case DiskLocal:
		c.between(at+".size_mib", d.SizeMiB, 1, 16<<20)
	case DiskShared:
		c.must(d.SizeMiB == 0, at+".size_mib", "%d, but a shared disk is made by nobody: leave it out", d.SizeMiB)
	}
}
