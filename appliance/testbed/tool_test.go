package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAToolsWorkHasAFolderWhileItLastsAndAbsolutePaths(t *testing.T) {
	var folder string
	failure := errors.New("no guest")
	tool := &Tool{Out: "out/x", Binary: "/opt/bumpless", Cache: "."}
	err := tool.run(t.Context(), func(_ context.Context, dir string) error {
		folder = dir
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Stat(%q) = %v; want it gone with what was in it", folder, err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if want := (Tool{filepath.Join(here, "out/x"), "/opt/bumpless", here}); *tool != want {
		t.Errorf("paths %+v; want %+v", *tool, want)
	}
	if err := tool.run(t.Context(), func(context.Context, string) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("run() = %v; want %v", err, failure)
	}
}
