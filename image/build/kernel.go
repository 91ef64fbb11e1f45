package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kernelPackage is the meta package whose dependency is the newest kernel for
// virtual machines: the smallest of Debian's that has virtio.
const kernelPackage = "linux-image-cloud-amd64"

// kernel is an unpacked Debian kernel.
type kernel struct {
	image      string // vmlinuz
	modulesDir string
}

// fetchKernel unpacks the newest kernel into dir, once: it is found there the
// next time, and nothing is asked of the network.
func fetchKernel(ctx context.Context, dir string, progress func(string)) (kernel, error) {
	if k, err := findKernel(dir); err == nil {
		return k, nil
	}
	progress("fetch Debian's kernel for virtual machines")
	name, err := newestKernel(ctx)
	if err != nil {
		return kernel{}, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "kernel-*")
	if err != nil {
		return kernel{}, fmt.Errorf("fetch kernel: %w", err)
	}
	defer os.RemoveAll(tmp)
	// Downloads by root drop to the user _apt, who must be able to write here.
	if err := os.Chmod(tmp, 0o755); err != nil {
		return kernel{}, fmt.Errorf("fetch kernel: %w", err)
	}
	if err := run(ctx, tmp, "apt-get", "-o", "APT::Sandbox::User=root", "download", name); err != nil {
		return kernel{}, fmt.Errorf("fetch kernel %s (is the package list there? try `apt-get update`): %w", name, err)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return kernel{}, fmt.Errorf("fetch kernel %s: %d packages came, want 1", name, len(debs))
	}
	progress("unpack " + filepath.Base(debs[0]))
	unpacked := filepath.Join(tmp, "unpacked")
	if err := run(ctx, tmp, "dpkg-deb", "-x", debs[0], unpacked); err != nil {
		return kernel{}, fmt.Errorf("unpack kernel %s: %w", name, err)
	}
	if err := os.Rename(unpacked, dir); err != nil {
		return kernel{}, fmt.Errorf("unpack kernel %s: %w", name, err)
	}
	return findKernel(dir)
}

// newestKernel asks apt for the dependency of kernelPackage.
func newestKernel(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", kernelPackage).Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends %s: %w", kernelPackage, err)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if _, name, ok := strings.Cut(line, "Depends: linux-image-"); ok {
			return "linux-image-" + strings.TrimSpace(name), nil
		}
	}
	return "", fmt.Errorf("apt-cache knows no kernel behind %s: run `apt-get update`", kernelPackage)
}

// findKernel finds an unpacked kernel; from 7.x on vmlinuz is with the modules.
func findKernel(dir string) (kernel, error) {
	versions, err := filepath.Glob(filepath.Join(dir, "lib/modules/*"))
	if err == nil && len(versions) == 0 {
		versions, err = filepath.Glob(filepath.Join(dir, "usr/lib/modules/*"))
	}
	if err != nil || len(versions) != 1 {
		return kernel{}, fmt.Errorf("%s holds %d kernels, want 1", dir, len(versions))
	}
	for _, image := range []string{
		filepath.Join(dir, "boot", "vmlinuz-"+filepath.Base(versions[0])),
		filepath.Join(versions[0], "vmlinuz"),
	} {
		if _, err := os.Stat(image); err == nil {
			return kernel{image: image, modulesDir: versions[0]}, nil
		}
	}
	return kernel{}, fmt.Errorf("%s holds no vmlinuz", dir)
}

func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
