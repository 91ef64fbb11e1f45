package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// userlandPackages are what the bench's loads run; apt adds what they depend
// on. dash is /bin/sh, which initdb and make call.
var userlandPackages = []string{"redis-server", "redis-tools", "postgresql", "gcc", "make", "libc6-dev", "dash"}

// userlandName is the image in the cache.
const userlandName = "guest-userland.img"

// unwanted in the image: nothing there reads it.
var unwanted = []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"}

// userlandUser is who the loads run as: postgres refuses to be root, and wants
// its user to have a name.
const userlandUser = "load:x:1000:1000::/tmp:/bin/sh\n"

// madeOf is a file beside the image that says which packages it was asked to hold.
const madeOf = ".packages"

// makeUserland builds the image, once: a read-only ext4 file system of Debian's
// packages, unpacked and not installed. Both hosts of a move open the same file.
func makeUserland(ctx context.Context, cache string, progress func(string)) (string, error) {
	image, packages := filepath.Join(cache, userlandName), []byte(strings.Join(userlandPackages, "\n")+"\n")
	if was, err := os.ReadFile(image + madeOf); err == nil && bytes.Equal(was, packages) {
		if _, err := os.Stat(image); err == nil {
			return image, nil
		}
	}
	tmp, err := os.MkdirTemp(cache, "userland-*")
	if err != nil {
		return "", fmt.Errorf("build the userland: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := buildUserland(ctx, tmp, progress); err != nil {
		return "", fmt.Errorf("build the userland: %w", err)
	}
	if err := os.Rename(filepath.Join(tmp, userlandName), image); err != nil {
		return "", fmt.Errorf("build the userland: %w", err)
	}
	return image, os.WriteFile(image+madeOf, packages, 0o644)
}

func buildUserland(ctx context.Context, tmp string, progress func(string)) error {
	progress("fetch " + strings.Join(userlandPackages, ", ") + " and what they depend on")
	debs, err := fetch(ctx, tmp, userlandPackages)
	if err != nil {
		return err
	}
	root := filepath.Join(tmp, "root")
	progress(fmt.Sprintf("unpack %d packages", len(debs)))
	for _, deb := range debs {
		if err := run(ctx, "dpkg-deb", "-x", deb, root); err != nil {
			return err
		}
	}
	if err := finishRoot(root); err != nil {
		return err
	}
	progress("make " + userlandName)
	return makeImage(ctx, root, filepath.Join(tmp, userlandName))
}

// fetch downloads packages and all that they depend on: apt is told of a machine
// on which nothing is installed.
func fetch(ctx context.Context, tmp string, packages []string) ([]string, error) {
	status, archives := filepath.Join(tmp, "status"), filepath.Join(tmp, "archives")
	if err := errors.Join(os.WriteFile(status, nil, 0o644), os.MkdirAll(filepath.Join(archives, "partial"), 0o755), os.Chmod(tmp, 0o755)); err != nil {
		return nil, err
	}
	args := []string{"-qq", "-y", "--download-only", "--no-install-recommends", "-o", "Dir::State::status=" + status, "-o", "Dir::Cache::archives=" + archives,
		"-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", "install"}
	if err := run(ctx, "apt-get", append(args, packages...)...); err != nil {
		return nil, fmt.Errorf("fetch packages (is the package list there? try `apt-get update`): %w", err)
	}
	debs, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err == nil && len(debs) < len(packages) {
		err = fmt.Errorf("fetch packages: %d came, want %d at least", len(debs), len(packages))
	}
	return debs, err
}

// finishRoot does what the packages' scripts would have done, as far as the loads
// need it.
func finishRoot(root string) error {
	for _, dir := range unwanted {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			return err
		}
	}
	for _, dir := range []string{"dev", "proc", "run", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	// Debian 13's packages are all below /usr, the links come from base-files;
	// Debian 12's have files in both places.
	for _, dir := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(root, dir)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0::/:/bin/sh\n"+userlandUser), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\nload:x:1000:\n"), 0o644)
}

// imageSlack is the file system's own need beside the files.
const imageSlack = 64 << 20

// makeImage packs root into an ext4 image. No journal: nobody writes to it.
func makeImage(ctx context.Context, root, image string) error {
	size, err := sizeOf(root)
	if err != nil {
		return err
	}
	return run(ctx, "/usr/sbin/mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^resize_inode", "-m", "0", "-E", "root_owner=0:0", "-d", root, image,
		fmt.Sprintf("%dk", (size+size/8+imageSlack)>>10))
}

// sizeOf the files, each rounded up to blocks.
func sizeOf(root string) (sum int64, err error) {
	const block = 4096
	err = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum += block
		if info.Mode().IsRegular() {
			sum += (info.Size() + block - 1) / block * block
		}
		return nil
	})
	return sum, err
}

func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(out[max(0, len(out)-2000):])))
	}
	return nil
}
