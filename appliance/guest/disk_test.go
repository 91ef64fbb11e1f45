package guest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestADiskIsLockedAndTellsItsErrorsToTheGuest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a,b.img") // a comma must not become something else
	write(t, path, "")
	words, err := arguments(Spec{Name: "g", Machine: "q35", Disks: []Disk{{Path: path, Format: "raw"}}}, "/run/g", false)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"-blockdev", `{"cache":{"direct":true,"no-flush":false},"discard":"unmap","driver":"raw","file":{"cache":{"direct":true,"no-flush":false},` +
		`"discard":"unmap","driver":"file","filename":"` + path + `","locking":"on"},"node-name":"d0"}`,
		"-device", "virtio-blk-pci,id=disk0,drive=d0,werror=report,rerror=report"}
	if got := words[len(words)-4:]; !slices.Equal(got, want) {
		t.Errorf("arguments() end with %q; want %q", got, want)
	}
}

func TestAReadOnlyDiskIsReadOnlyInBothNodes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.img")
	write(t, path, "")
	words, err := diskArguments(0, Disk{Path: path, Format: "raw", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(words[1], `"read-only":true`); n != 2 {
		t.Errorf("%s: read-only in %d nodes; want in format and file", words[1], n)
	}
}

func TestADiskThatIsMissingIsNamed(t *testing.T) {
	if _, err := arguments(Spec{Disks: []Disk{{Path: "/nowhere/d.img", Format: "raw"}}}, "/run/g", false); err == nil || !strings.Contains(err.Error(), "/nowhere/d.img") {
		t.Errorf("arguments() = %v; want the path named", err)
	}
}

func TestLocalNodesAreThoseOfLocalDisks(t *testing.T) {
	s := Spec{Disks: []Disk{{}, {Local: true}, {}, {Local: true}}}
	if got, want := s.LocalNodes(), []string{"d1", "d3"}; !slices.Equal(got, want) {
		t.Errorf("LocalNodes() = %v; want %v", got, want)
	}
}

func TestALocalImageIsMadeAnewAndSparse(t *testing.T) {
	dir := t.TempDir()
	for _, format := range []string{"raw", "qcow2"} {
		d := Disk{Path: filepath.Join(dir, format), Format: format, Local: true, SizeMiB: 64}
		write(t, d.Path, "what an earlier stay left")
		write(t, d.Path+".new", "what a host that lost its power left")
		shared := Disk{Path: filepath.Join(dir, "shared"), Format: "raw"}
		write(t, shared.Path, "precious")
		r := &Runner{Binary: "qemu-system-x86_64"}
		if err := r.makeImages(Spec{Disks: []Disk{shared, d}}); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(d.Path)
		if err != nil || strings.Contains(string(b), "left") {
			t.Errorf("%s: what was there is still there (%v)", format, err)
		}
		if format == "raw" && len(b) != 64<<20 {
			t.Errorf("%s: %d bytes; want 64 MiB", format, len(b))
		}
		if format == "qcow2" && !strings.HasPrefix(string(b), "QFI\xfb") {
			t.Errorf("%s: begins with %.4q; want a qcow2 header", format, b)
		}
		if free := allocated(t, d.Path); free > 1<<20 {
			t.Errorf("%s: %d bytes are allocated; want a sparse image", format, free)
		}
		if b, _ := os.ReadFile(shared.Path); string(b) != "precious" {
			t.Errorf("the shared image holds %.20q; it is nobody's to make", b)
		}
	}
}

func TestALocalImageThatDoesNotFitIsRefusedAndTheOldOneStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.img")
	write(t, path, "old")
	r := &Runner{}
	err := r.makeImages(Spec{Disks: []Disk{{Path: path, Format: "raw", Local: true, SizeMiB: 16 << 20}}})
	if err == nil || !strings.Contains(err.Error(), "are free in") || !strings.Contains(err.Error(), path) {
		t.Errorf("makeImages() = %v; want the free space and the path named", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("the image holds %q; want it untouched", b)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// allocated bytes of a file.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		t.Fatal(err)
	}
	return s.Blocks * 512
}
