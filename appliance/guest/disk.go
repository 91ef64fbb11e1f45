package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Disk of a guest: a virtio disk on one image file or block device.
type Disk struct {
	Path   string
	Format string // raw or qcow2
	// Local: the image belongs to this host alone, and its content goes along
	// when the guest moves. Otherwise every host reaches the same image by Path.
	Local   bool
	SizeMiB int // of a local image, which is made at a move's destination
	// ReadOnly: nobody writes to the image, so that both copies of a move, and
	// other guests, may have it open at the same time.
	ReadOnly bool
}

// Node is the name of the i-th disk's block node in QEMU. Both ends of a move
// name it so.
func Node(i int) string { return fmt.Sprintf("d%d", i) }

// LocalNodes are the nodes of the disks whose content must go along.
func (s Spec) LocalNodes() (nodes []string) {
	for i, d := range s.Disks {
		if d.Local {
			nodes = append(nodes, Node(i))
		}
	}
	return nodes
}

// diskArguments describe the i-th disk to QEMU.
//
//   - locking on: the lock is what keeps a second copy from a shared image. A
//     file system that has none is an error, not a warning.
//   - cache.direct: the other host must read what this one wrote, and a guest's
//     writes must not take the host's memory.
//   - werror, rerror = report: the guest is told of an I/O error, as by a real
//     disk. QEMU's other way, to pause the guest, is none here: protection that
//     is paused is silently off, and whoever pauses a guest that is being moved
//     lets QEMU's switchover begin (`stop` is the release).
func diskArguments(i int, d Disk) ([]string, error) {
	driver := "file"
	if device, err := isDevice(d.Path); err != nil {
		return nil, err
	} else if device {
		driver = "host_device"
	}
	cache := map[string]bool{"direct": true, "no-flush": false}
	file := map[string]any{"driver": driver, "filename": d.Path, "locking": "on", "cache": cache, "discard": "unmap"}
	format := map[string]any{"driver": d.Format, "node-name": Node(i), "cache": cache, "discard": "unmap", "file": file}
	if d.ReadOnly {
		file["read-only"], format["read-only"] = true, true
	}
	node, err := json.Marshal(format)
	if err != nil {
		return nil, fmt.Errorf("describe disk %s: %w", d.Path, err)
	}
	return []string{"-blockdev", string(node),
		"-device", fmt.Sprintf("virtio-blk-pci,id=disk%d,drive=%s,werror=report,rerror=report", i, Node(i))}, nil
}

func isDevice(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("look at disk: %w", err)
	}
	return info.Mode()&fs.ModeDevice != 0, nil
}

// makeImages makes the local images of an incoming copy: empty, sparse, and of
// the size that the site file says. What was there is a former stay's leaving:
// the guest runs elsewhere, and what is true of its disk is there.
func (r *Runner) makeImages(s Spec) error {
	for _, d := range s.Disks {
		if !d.Local {
			continue
		}
		if device, err := isDevice(d.Path); err == nil && device {
			continue // it cannot be made; the move compares the sizes
		}
		if err := r.makeImage(d); err != nil {
			return fmt.Errorf("make disk %s of %d MiB: %w", d.Path, d.SizeMiB, err)
		}
	}
	return nil
}

func (r *Runner) makeImage(d Disk) error {
	if err := fits(d); err != nil {
		return err
	}
	fresh := d.Path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := r.createImage(fresh, d); err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return os.Rename(fresh, d.Path)
}

func (r *Runner) createImage(path string, d Disk) error {
	if d.Format != "raw" {
		out, err := exec.Command(r.imageTool(), "create", "-q", "-f", d.Format, path, fmt.Sprintf("%dM", d.SizeMiB)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("qemu-img: %w: %.200s", err, out)
		}
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(d.SizeMiB)<<20), f.Close())
}

// imageTool is the qemu-img beside the QEMU that is used.
func (r *Runner) imageTool() string {
	if strings.ContainsRune(r.Binary, '/') {
		return filepath.Join(filepath.Dir(r.Binary), "qemu-img")
	}
	return "qemu-img"
}

// fits tells whether the whole disk has room, not just what is written yet: a
// guest must not meet a full file system later.
func fits(d Disk) error {
	var fsys unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(d.Path), &fsys); err != nil {
		return fmt.Errorf("ask for the free space of %s: %w", filepath.Dir(d.Path), err)
	}
	free := int64(fsys.Bavail) * fsys.Bsize
	var old unix.Stat_t
	if unix.Stat(d.Path, &old) == nil {
		free += old.Blocks * 512 // it goes
	}
	if free>>20 < int64(d.SizeMiB) {
		return fmt.Errorf("%d MiB are free in %s: make room, or move the guest elsewhere", free>>20, filepath.Dir(d.Path))
	}
	return nil
}
