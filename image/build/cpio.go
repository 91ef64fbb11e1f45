package build

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// File is one entry of an initramfs. Path is relative to the root, without a
// leading slash.
type File struct {
	Path string
	Mode uint32 // permission bits, with modeDir for a folder
	Data []byte
}

// Types of cpio entries (stat(2)).
const (
	modeType = 0o170000
	modeDir  = 0o040000
	modeFile = 0o100000
)

// Bounds of an entry. The kernel's PATH_MAX counts the final 0; a size has 32
// bits in the header, and nothing that large belongs into memory at boot.
const (
	maxName  = 4095
	maxEntry = 1 << 30
)

// trailer is the name that ends an archive.
const trailer = "TRAILER!!!"

// writeCPIO writes the files as a "newc" archive, as the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst describes it.
// Parent folders are added, since the kernel does not make them; inode numbers
// and times are fixed, so that equal files give equal bytes.
func writeCPIO(w io.Writer, files []File) error {
	if err := checkFiles(files); err != nil {
		return err
	}
	sorted := append(parents(files), files...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Path < sorted[j].Path })
	for i, f := range sorted {
		mode := f.Mode
		if mode&modeType == 0 {
			mode |= modeFile
		}
		if err := writeEntry(w, i+1, f.Path, mode, f.Data); err != nil {
			return fmt.Errorf("write initramfs entry %s: %w", f.Path, err)
		}
	}
	return writeEntry(w, 0, trailer, 0, nil)
}

// checkFiles refuses what the kernel would unpack as something else.
func checkFiles(files []File) error {
	seen := map[string]bool{}
	for _, f := range files {
		switch {
		case f.Path == "." || f.Path == trailer || !fs.ValidPath(f.Path) || strings.ContainsRune(f.Path, 0) || len(f.Path) > maxName:
			return fmt.Errorf("write initramfs: %.60q cannot be an entry's path", f.Path)
		case seen[f.Path]:
			return fmt.Errorf("write initramfs: %s is there twice", f.Path)
		case len(f.Data) > maxEntry:
			return fmt.Errorf("write initramfs: %s has %d bytes, at most %d are allowed", f.Path, len(f.Data), maxEntry)
		case f.Mode&modeType == modeDir && len(f.Data) > 0:
			return fmt.Errorf("write initramfs: the folder %s has contents", f.Path)
		case f.Mode&modeType != 0 && f.Mode&modeType != modeDir && f.Mode&modeType != modeFile, f.Mode&^(modeType|0o7777) != 0:
			return fmt.Errorf("write initramfs: %s has mode %o", f.Path, f.Mode)
		}
		seen[f.Path] = true
	}
	return nil
}

// parents returns the folders that files lie in and that are not among them.
func parents(files []File) []File {
	seen := map[string]bool{}
	for _, f := range files {
		if f.Mode&modeType == modeDir {
			seen[f.Path] = true
		}
	}
	var dirs []File
	for _, f := range files {
		for d := path.Dir(f.Path); d != "."; d = path.Dir(d) {
			if !seen[d] {
				seen[d] = true
				dirs = append(dirs, File{Path: d, Mode: modeDir | 0o755})
			}
		}
	}
	return dirs
}

func writeEntry(w io.Writer, inode int, name string, mode uint32, data []byte) error {
	const links, none = 1, 0
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		inode, mode, none, none, links, none, len(data), none, none, none, none, len(name)+1, none)
	head := header + name + "\x00"
	if _, err := io.WriteString(w, head+padding(len(head))); err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return err
	}
	_, err := io.WriteString(w, padding(len(data)))
	return err
}

// padding fills up to a multiple of four bytes.
func padding(n int) string { return strings.Repeat("\x00", (4-n%4)%4) }
