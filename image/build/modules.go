package build

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// maxModule bounds a decompressed kernel module; the largest of Debian's is
// under 20 MiB.
const maxModule = 64 << 20

// maxModinfo bounds a module's .modinfo section; those of Debian's have a few
// kilobytes.
const maxModinfo = 1 << 20

// moduleClosure returns the named modules and all that they depend on, each
// after its dependencies, with their decompressed contents. The dependencies
// are read from each module's own .modinfo section, so that no depmod is
// needed. What is built into the kernel needs no module.
func moduleClosure(modulesDir string, names []string) ([]File, error) {
	index, err := indexModules(modulesDir)
	if err != nil {
		return nil, err
	}
	builtIn, err := builtInModules(modulesDir)
	if err != nil {
		return nil, err
	}
	c := closure{index: index, done: builtIn}
	for _, name := range names {
		if err := c.add(name); err != nil {
			return nil, err
		}
	}
	return c.files, nil
}

type closure struct {
	index map[string]string
	done  map[string]bool // or need not be done
	files []File
}

func (c *closure) add(name string) error {
	name = moduleName(name)
	if c.done[name] {
		return nil
	}
	c.done[name] = true
	path, ok := c.index[name]
	if !ok {
		return fmt.Errorf("kernel module %s is neither there nor built in", name)
	}
	data, err := readModule(path)
	if err != nil {
		return fmt.Errorf("read kernel module %s: %w", name, err)
	}
	depends, err := moduleDepends(data)
	if err != nil {
		return fmt.Errorf("read kernel module %s: %w", name, err)
	}
	for _, d := range depends {
		if err := c.add(d); err != nil {
			return err
		}
	}
	c.files = append(c.files, File{Path: name + ".ko", Mode: 0o644, Data: data})
	return nil
}

// moduleName makes one spelling of a module's name or file name.
func moduleName(file string) string {
	base, _ := strings.CutSuffix(strings.TrimSuffix(filepath.Base(file), ".xz"), ".ko")
	return strings.ReplaceAll(base, "-", "_")
}

// builtInModules returns the names in modules.builtin, if there is one.
func builtInModules(dir string) (map[string]bool, error) {
	names := map[string]bool{}
	list, err := readBounded(filepath.Join(dir, "modules.builtin"), maxModinfo)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for kernel modules: %w", err)
	}
	for _, path := range strings.Fields(string(list)) {
		names[moduleName(path)] = true
	}
	return names, nil
}

// indexModules maps the name of each module below dir to its path.
func indexModules(dir string) (map[string]string, error) {
	index := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !strings.HasSuffix(strings.TrimSuffix(d.Name(), ".xz"), ".ko") || !d.Type().IsRegular() {
			return nil
		}
		name := moduleName(d.Name())
		if before, twice := index[name]; twice {
			return fmt.Errorf("%s and %s are both called %s", before, path, name)
		}
		index[name] = path
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for kernel modules: %w", err)
	}
	return index, nil
}

// readModule returns a module's ELF contents; Debian compresses them with xz
// from 6.12 on.
func readModule(path string) ([]byte, error) {
	if !strings.HasSuffix(path, ".xz") {
		return readBounded(path, maxModule)
	}
	cmd := exec.Command("xz", "-dc", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("xz -dc %s (package xz-utils): %w", path, err)
	}
	data, readErr := io.ReadAll(io.LimitReader(out, maxModule+1))
	tooLarge := len(data) > maxModule
	if tooLarge {
		out.Close() // ends xz, whose status then says nothing
	}
	err = cmd.Wait()
	switch {
	case tooLarge:
		return nil, fmt.Errorf("%s has more than %d bytes when it is decompressed", path, maxModule)
	case readErr != nil:
		return nil, fmt.Errorf("xz -dc %s: %w", path, readErr)
	case err != nil:
		return nil, fmt.Errorf("xz -dc %s: %w", path, err)
	}
	return data, nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}

// moduleDepends returns the names on the depends= line of .modinfo.
func moduleDepends(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("no .modinfo section")
	}
	if section.Size > maxModinfo {
		return nil, fmt.Errorf("its .modinfo section has %d bytes, more than %d", section.Size, maxModinfo)
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for _, line := range strings.Split(string(info), "\x00") {
		if list, ok := strings.CutPrefix(line, "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
