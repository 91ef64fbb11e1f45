package build

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// guestModules are the drivers of a paravirtual guest, in the order in which
// they are loaded.
var guestModules = []string{"virtio_pci", "virtio_net", "virtio_blk", "virtio_rng"}

// ModulesList is where an initramfs says which modules its init is to load, a
// path a line, in order.
const ModulesList = "lib/modules.list"

// Options of Guest.
type Options struct {
	// CacheDir keeps what was fetched and built. It is made when missing.
	CacheDir string
	// Init is the path of the static program that becomes /init.
	Init string
	// Progress is told each step that takes time; nil: nobody is.
	Progress func(string)
}

// Artifacts are the files that a hypervisor boots.
type Artifacts struct {
	Kernel string // vmlinuz
	Initrd string // gzipped cpio
}

// Guest fetches the kernel and packs the initramfs of a guest whose init is
// opts.Init. The artifacts lie in CacheDir as guest-vmlinuz and guest-initrd.
func Guest(ctx context.Context, opts Options) (Artifacts, error) {
	if opts.Progress == nil {
		opts.Progress = func(string) {}
	}
	program, err := readBounded(opts.Init, maxModule) // first: it costs nothing to refuse
	if err != nil {
		return Artifacts{}, fmt.Errorf("build guest: its init: %w", err)
	}
	if opts.CacheDir, err = filepath.Abs(opts.CacheDir); err != nil {
		return Artifacts{}, fmt.Errorf("build guest: %w", err)
	}
	if err := os.MkdirAll(opts.CacheDir, 0o755); err != nil {
		return Artifacts{}, fmt.Errorf("build guest: %w", err)
	}
	k, err := fetchKernel(ctx, filepath.Join(opts.CacheDir, "kernel"), opts.Progress)
	if err != nil {
		return Artifacts{}, fmt.Errorf("build guest: %w", err)
	}
	archive, err := initramfs(k, program)
	if err != nil {
		return Artifacts{}, fmt.Errorf("build guest: %w", err)
	}
	a := Artifacts{
		Kernel: filepath.Join(opts.CacheDir, "guest-vmlinuz"),
		Initrd: filepath.Join(opts.CacheDir, "guest-initrd"),
	}
	image, err := readBounded(k.image, maxModule)
	if err != nil {
		return Artifacts{}, fmt.Errorf("build guest: %w", err)
	}
	for path, data := range map[string][]byte{a.Kernel: image, a.Initrd: archive} {
		if err := replaceFile(path, data); err != nil {
			return Artifacts{}, fmt.Errorf("build guest: %w", err)
		}
	}
	return a, nil
}

func initramfs(k kernel, program []byte) ([]byte, error) {
	modules, err := moduleClosure(k.modulesDir, guestModules)
	if err != nil {
		return nil, err
	}
	files := []File{{Path: "init", Mode: 0o755, Data: program}}
	var list strings.Builder
	for _, m := range modules {
		m.Path = "lib/modules/" + m.Path
		files = append(files, m)
		fmt.Fprintf(&list, "/%s\n", m.Path)
	}
	files = append(files,
		File{Path: ModulesList, Mode: 0o644, Data: []byte(list.String())},
		File{Path: "dev", Mode: modeDir | 0o755}, File{Path: "proc", Mode: modeDir | 0o755}, File{Path: "sys", Mode: modeDir | 0o755})
	var out bytes.Buffer
	// The fastest level: the guest decompresses it at every start.
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if err := writeCPIO(z, files); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// replaceFile writes path in one step; equal contents are left alone, so that
// a running guest's files do not change under it.
func replaceFile(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // two builds must not share it
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
