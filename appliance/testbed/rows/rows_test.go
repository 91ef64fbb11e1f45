package rows

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

type row struct {
	N int `json:"n"`
}

const name = "some.json"

func open(t *testing.T, dir string, resume bool) *File[row] {
	t.Helper()
	f, err := Open[row](dir, name, resume)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestEveryRowIsOnDiskAtOnceAndResumedFrom(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	f := open(t, dir, false)
	var want []row
	for n := range 3 {
		if err := f.Add(row{n}); err != nil {
			t.Fatal(err)
		}
		want = append(want, row{n})
		if got, err := Read[row](f.Path()); err != nil || !slices.Equal(got, want) {
			t.Fatalf("on disk: %v, %v; want %v", got, err, want)
		}
	}
	f.Close()
	again := open(t, dir, true)
	if !slices.Equal(again.Rows, want) {
		t.Errorf("resumed with %v; want %v", again.Rows, want)
	}
	again.Close()
	anew := open(t, dir, false)
	if len(anew.Rows) != 0 {
		t.Errorf("begun with %v; want none", anew.Rows)
	}
	if got, err := Read[row](anew.Path()); err != nil || !slices.Equal(got, want) {
		t.Errorf("on disk: %v, %v; want the old rows until there is a new one", got, err)
	}
}

func TestTwoRunsDoNotShareAFolder(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir, false)
	if second, err := Open[row](dir, name, false); err == nil {
		second.Close()
		t.Error("a second run was let in")
	}
	f.Close()
	open(t, dir, false)
}

func TestRowsThatCannotBeReadAreNotReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f, err := Open[row](dir, name, true); err == nil {
		f.Close()
		t.Error("half a file was resumed from")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "[{" {
		t.Errorf("the file holds %q, %v; want it as it was", b, err)
	}
}
