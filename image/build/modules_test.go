package build

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is the smallest ELF file with a section of that name.
func module(section, contents string, size uint64) []byte {
	names := "\x00" + section + "\x00.shstrtab\x00"
	data := contents + names
	header := elf.Header64{Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2, Shoff: uint64(64 + len(data))}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	for _, part := range []any{header, []byte(data), elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: size},
		elf.Section64{Name: uint32(2 + len(section)), Type: uint32(elf.SHT_STRTAB), Off: uint64(64 + len(contents)), Size: uint64(len(names))}} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			panic(err) // into memory, of fixed-size values
		}
	}
	return b.Bytes()
}

func depends(names string) []byte {
	info := "license=GPL\x00depends=" + names + "\x00name=x\x00"
	return module(".modinfo", info, uint64(len(info)))
}

// put writes the file, with its folders.
func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func xz(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.Command("xz", "-0", path).CombinedOutput(); err != nil {
		t.Fatalf("xz %s (package xz-utils): %v: %s", path, err, out)
	}
}

// tree writes modules below a folder: net needs virtio-ring and pci, pci needs
// virtio_ring; rng stands alone, compressed; builtin is in the kernel.
func tree(t *testing.T, dir string) string {
	t.Helper()
	for file, needs := range map[string]string{"net/virtio_net.ko": "virtio-ring,virtio_pci", "virtio/virtio_pci.ko": "virtio_ring",
		"virtio/virtio_ring.ko": "", "block/virtio_blk.ko": "virtio_ring", "char/virtio-rng.ko": "", "other.ko": "virtio_net"} {
		put(t, filepath.Join(dir, "kernel", file), depends(needs))
	}
	xz(t, filepath.Join(dir, "kernel/char/virtio-rng.ko"))
	put(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/lib/built-in-one.ko\nkernel/x.ko\n"))
	put(t, filepath.Join(dir, "modules.order"), []byte("kernel/net/virtio_net.ko\n"))
	put(t, filepath.Join(dir, "kernel/notes.kotlin"), nil)
	return dir
}

func paths(files []File) string {
	var all []string
	for _, f := range files {
		all = append(all, f.Path)
	}
	return strings.Join(all, " ")
}

func TestModulesComeAfterWhatTheyDependOnAndOnce(t *testing.T) {
	dir := tree(t, t.TempDir())
	for _, c := range []struct{ names, want string }{
		{"virtio_ring", "virtio_ring.ko"},
		{"virtio_net", "virtio_ring.ko virtio_pci.ko virtio_net.ko"},
		{"virtio-net virtio_blk virtio_net", "virtio_ring.ko virtio_pci.ko virtio_net.ko virtio_blk.ko"},
		{"virtio_rng built_in_one x", "virtio_rng.ko"},
		{"", ""},
	} {
		files, err := moduleClosure(dir, strings.Fields(c.names))
		if err != nil || paths(files) != c.want {
			t.Errorf("moduleClosure(%s) = %s, %v; want %s", c.names, paths(files), err, c.want)
		}
	}
}

func TestACompressedModuleIsPackedDecompressed(t *testing.T) {
	files, err := moduleClosure(tree(t, t.TempDir()), []string{"virtio_rng"})
	if err != nil || len(files) != 1 || !bytes.Equal(files[0].Data, depends("")) {
		t.Errorf("moduleClosure() = %v, %v; want the ELF file", paths(files), err)
	}
}

func TestACircleOfModulesEnds(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "a.ko"), depends("b"))
	put(t, filepath.Join(dir, "b.ko"), depends("a,b"))
	if files, err := moduleClosure(dir, []string{"a"}); err != nil || paths(files) != "b.ko a.ko" {
		t.Errorf("moduleClosure() = %s, %v; want both once", paths(files), err)
	}
}

func TestAModuleThatCannotBeUsedIsNamed(t *testing.T) {
	for what, c := range map[string]struct {
		make func(path string)
		want string
	}{
		"none":           {func(string) {}, "kernel module bad is neither there nor built in"},
		"a dependency":   {func(path string) { put(t, path, depends("gone")) }, "kernel module gone is neither there nor built in"},
		"not ELF":        {func(path string) { put(t, path, []byte("text")) }, "read kernel module bad: "},
		"empty":          {func(path string) { put(t, path, nil) }, "read kernel module bad: "},
		"no .modinfo":    {func(path string) { put(t, path, module(".other", "x", 1)) }, "read kernel module bad: no .modinfo section"},
		"huge .modinfo":  {func(path string) { put(t, path, module(".modinfo", "x", 1<<40)) }, "its .modinfo section has 1099511627776 bytes"},
		"cut .modinfo":   {func(path string) { put(t, path, module(".modinfo", "x", 5000)) }, "read kernel module bad: "},
		"huge":           {func(path string) { sparse(t, path, maxModule+1) }, "has 67108865 bytes, more than 67108864"},
		"huge once open": {func(path string) { sparse(t, path, maxModule+1); xz(t, path) }, "has more than 67108864 bytes when it is decompressed"},
		"not xz":         {func(path string) { put(t, path+".xz", []byte("text")) }, "xz -dc"},
		"two of a name":  {func(path string) { put(t, path, depends("")); put(t, path+".xz", depends("")) }, "are both called bad"},
	} {
		dir := t.TempDir()
		c.make(filepath.Join(dir, "bad.ko"))
		if _, err := moduleClosure(dir, []string{"bad"}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: moduleClosure() = %v; want %q", what, err, c.want)
		}
	}
	if _, err := moduleClosure(filepath.Join(t.TempDir(), "none"), nil); err == nil || !strings.Contains(err.Error(), "look for kernel modules") {
		t.Errorf("moduleClosure() without a folder = %v", err)
	}
}

// sparse makes a file that has a size but takes no room.
func sparse(t *testing.T, path string, size int64) {
	t.Helper()
	put(t, path, nil)
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
}

func TestDependsOfAModuleThatSaysNothing(t *testing.T) {
	for _, info := range []string{"", "license=GPL\x00", "depends=\x00"} {
		if got, err := moduleDepends(module(".modinfo", info, uint64(len(info)))); len(got) != 0 || err != nil {
			t.Errorf("moduleDepends(%q) = %q, %v; want none", info, got, err)
		}
	}
}

func FuzzModuleDepends(f *testing.F) {
	f.Add(depends("a,b"))
	f.Add(module(".modinfo", "x", 1<<40))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, b []byte) {
		names, err := moduleDepends(b)
		if err == nil && len(fmt.Sprint(names)) > maxModinfo+len(names)+2 {
			t.Errorf("%d names from %d bytes", len(names), len(b))
		}
	})
}
