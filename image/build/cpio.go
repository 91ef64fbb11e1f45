package build

import (
	"fmt"
	"io"
	"path"
	"sort"
	"strings"
)

// File is one entry of an initramfs. Path is relative to the root, without a
// leading slash.
type File struct {
	Path string
	Mode uint32 // permission bits
	Data []byte
}

// Types of cpio entries (stat(2)).
const (
	modeDir  = 0o040000
	modeFile = 0o100000
)

// writeCPIO writes the files as a "newc" archive, as the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst describes it.
// Parent folders are added, since the kernel does not make them; inode numbers
// and times are fixed, so that equal files give equal bytes.
func writeCPIO(w io.Writer, files []File) error {
	sorted := append(parents(files), files...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Path < sorted[j].Path })
	for i, f := range sorted {
		mode := f.Mode
		if mode&0o170000 == 0 {
			mode |= modeFile
		}
		if err := writeEntry(w, i+1, f.Path, mode, f.Data); err != nil {
			return fmt.Errorf("write initramfs entry %s: %w", f.Path, err)
		}
	}
	return writeEntry(w, 0, "TRAILER!!!", 0, nil)
}

func parents(files []File) []File {
	seen := map[string]bool{}
	var dirs []File
	for _, f := range files {
		for d := path.Dir(f.Path); d != "." && d != "/" && !seen[d]; d = path.Dir(d) {
			seen[d] = true
			dirs = append(dirs, File{Path: d, Mode: modeDir | 0o755})
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
