package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestAnImageHoldsTheRootWithItsUserAndWithoutDocuments(t *testing.T) {
	root, image := filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "image")
	write(t, root+"/usr/bin/program", strings.Repeat("p", 3<<20))
	write(t, root+"/usr/share/doc/program/copyright", "long")
	if err := finishRoot(root); err != nil {
		t.Fatal(err)
	}
	if err := makeImage(context.Background(), root, image); err != nil {
		t.Fatal(err)
	}
	read := func(path string) string {
		out, err := exec.Command("/usr/sbin/debugfs", "-R", "cat "+path, image).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := read("/bin/program"); len(got) != 3<<20 {
		t.Errorf("/bin/program has %d bytes; want all of /usr/bin's", len(got))
	}
	if got := read("/etc/passwd"); !strings.Contains(got, "load:x:1000:") {
		t.Errorf("/etc/passwd = %q; want the load's user", got)
	}
	if got := read("/usr/share/doc/program/copyright"); got != "" {
		t.Errorf("a document is there: %q", got)
	}
}

// Debian 12 has files in /bin and in /usr/bin.
func TestAFolderThatAPackageBringsIsNoLink(t *testing.T) {
	root := t.TempDir()
	write(t, root+"/bin/sh", "dash")
	if err := finishRoot(root); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(root + "/bin"); err != nil || !info.IsDir() {
		t.Errorf("/bin = %v, %v; want the folder", info, err)
	}
	if to, err := os.Readlink(root + "/lib64"); err != nil || to != "usr/lib64" {
		t.Errorf("/lib64 = %q, %v; want a link", to, err)
	}
}

func TestAnImageThatIsThereIsNotMadeAgain(t *testing.T) {
	cache := t.TempDir()
	write(t, filepath.Join(cache, userlandName), "made")
	write(t, filepath.Join(cache, userlandName+madeOf), strings.Join(userlandPackages, "\n")+"\n")
	path, err := makeUserland(context.Background(), cache, func(step string) { t.Errorf("%s, though all is there", step) })
	if b, _ := os.ReadFile(path); err != nil || string(b) != "made" {
		t.Errorf("makeUserland() = %q, %v; want what was there", b, err)
	}
}
