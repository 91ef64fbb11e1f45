package build

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const version = "6.1.0-1-cloud-amd64"

// cache has a kernel in one of the two layouts, as if it had been fetched.
func cache(t *testing.T, modules, image string) string {
	t.Helper()
	dir := t.TempDir()
	tree(t, filepath.Join(dir, "kernel", modules))
	put(t, filepath.Join(dir, "kernel", image), []byte("kernel of "+image))
	return dir
}

var layouts = map[string][2]string{
	"vmlinuz in /boot":             {"lib/modules/" + version, "boot/vmlinuz-" + version},
	"modules in /usr/lib":          {"usr/lib/modules/" + version, "boot/vmlinuz-" + version},
	"vmlinuz with the modules":     {"usr/lib/modules/" + version, "usr/lib/modules/" + version + "/vmlinuz"},
	"vmlinuz with modules in /lib": {"lib/modules/" + version, "lib/modules/" + version + "/vmlinuz"},
}

func TestAGuestIsBuiltFromEitherLayout(t *testing.T) {
	for what, layout := range layouts {
		dir := cache(t, layout[0], layout[1])
		init := filepath.Join(t.TempDir(), "init")
		put(t, init, []byte("program"))
		a, err := Guest(context.Background(), Options{CacheDir: dir, Init: init, Progress: func(step string) { t.Errorf("%s: %s, though all is there", what, step) }})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if kernel, err := os.ReadFile(a.Kernel); err != nil || string(kernel) != "kernel of "+layout[1] {
			t.Errorf("%s: the kernel is %q, %v", what, kernel, err)
		}
		checkInitrd(t, a.Initrd)
	}
}

func checkInitrd(t *testing.T, path string) {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	archive, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]entry{}
	for _, e := range unpack(t, archive) {
		files[e.path] = e
	}
	if e := files["init"]; e.mode != modeFile|0o755 || e.data != "program" {
		t.Errorf("init = %o %q; want the program, executable", e.mode, e.data)
	}
	want := "/lib/modules/virtio_ring.ko\n/lib/modules/virtio_pci.ko\n/lib/modules/virtio_net.ko\n/lib/modules/virtio_blk.ko\n/lib/modules/virtio_rng.ko\n"
	if got := files[ModulesList].data; got != want {
		t.Errorf("%s = %q; want %q", ModulesList, got, want)
	}
	for _, line := range strings.Fields(want) {
		if files[strings.TrimPrefix(line, "/")].data == "" {
			t.Errorf("%s is on the list but not in the archive", line)
		}
	}
	for _, dir := range []string{"dev", "proc", "sys"} {
		if files[dir].mode != modeDir|0o755 {
			t.Errorf("%s has mode %o; want a folder", dir, files[dir].mode)
		}
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	init := filepath.Join(t.TempDir(), "init")
	put(t, init, bytes.Repeat([]byte("program "), 10_000))
	var before []byte
	for range 3 {
		layout := layouts["vmlinuz in /boot"]
		a, err := Guest(context.Background(), Options{CacheDir: cache(t, layout[0], layout[1]), Init: init})
		if err != nil {
			t.Fatal(err)
		}
		now, err := os.ReadFile(a.Initrd)
		if err != nil {
			t.Fatal(err)
		}
		if before != nil && !bytes.Equal(before, now) {
			t.Fatal("two builds differ")
		}
		before = now
	}
}

func TestABuildLeavesEqualArtifactsAloneAndNothingElseBehind(t *testing.T) {
	layout := layouts["vmlinuz in /boot"]
	dir := cache(t, layout[0], layout[1])
	init := filepath.Join(t.TempDir(), "init")
	put(t, init, []byte("one"))
	build := func() (Artifacts, os.FileInfo) {
		a, err := Guest(context.Background(), Options{CacheDir: dir, Init: init})
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(a.Initrd)
		if err != nil {
			t.Fatal(err)
		}
		return a, info
	}
	_, first := build()
	if _, second := build(); !os.SameFile(first, second) {
		t.Error("an equal initrd was written again")
	}
	put(t, init, []byte("two"))
	if _, third := build(); os.SameFile(first, third) {
		t.Error("a running guest's initrd was written over")
	}
	list, err := os.ReadDir(dir)
	if err != nil || len(list) != 3 {
		t.Errorf("the cache holds %v, %v; want kernel, guest-vmlinuz and guest-initrd", list, err)
	}
}

func TestAnInitThatCannotBeUsedIsRefusedBeforeAnythingIsFetched(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	sparse(t, large, maxModule+1)
	for init, want := range map[string]string{large: "has 67108865 bytes, more than 67108864", filepath.Join(dir, "none"): "no such file"} {
		cacheDir := filepath.Join(dir, "cache")
		_, err := Guest(context.Background(), Options{CacheDir: cacheDir, Init: init, Progress: func(step string) { t.Errorf("it began to %s", step) }})
		if err == nil || !strings.Contains(err.Error(), "build guest: its init: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("Guest(%s) = %v; want %q", filepath.Base(init), err, want)
		}
		if _, err := os.Stat(cacheDir); err == nil {
			t.Error("a cache was made")
		}
	}
}

func TestAnOversizedKernelIsRefused(t *testing.T) {
	layout := layouts["vmlinuz in /boot"]
	dir := cache(t, layout[0], layout[1])
	sparse(t, filepath.Join(dir, "kernel", layout[1]), maxModule+1)
	init := filepath.Join(t.TempDir(), "init")
	put(t, init, []byte("program"))
	if _, err := Guest(context.Background(), Options{CacheDir: dir, Init: init}); err == nil || !strings.Contains(err.Error(), "more than 67108864") {
		t.Errorf("Guest() = %v; want a refusal", err)
	}
}

func TestFindKernelWantsExactlyOne(t *testing.T) {
	none := t.TempDir()
	two := t.TempDir()
	for _, v := range []string{"6.1", "6.2"} {
		put(t, filepath.Join(two, "lib/modules", v, "x"), nil)
		put(t, filepath.Join(two, "boot/vmlinuz-"+v), nil)
	}
	noImage := t.TempDir()
	put(t, filepath.Join(noImage, "lib/modules/6.1/x"), nil)
	put(t, filepath.Join(noImage, "boot/vmlinuz-6.2"), nil)
	for dir, want := range map[string]string{none: "holds 0 kernels, want 1", two: "holds 2 kernels, want 1", noImage: "holds no vmlinuz"} {
		if k, err := findKernel(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("findKernel() = %+v, %v; want %q", k, err, want)
		}
	}
}
