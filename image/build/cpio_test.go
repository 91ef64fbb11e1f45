package build

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// entry is one entry as a reader finds it.
type entry struct {
	path               string
	mode, inode, links uint64
	data               string
}

// unpack reads a "newc" archive by the kernel's description of it, and wants
// that nothing but zeros fills the gaps.
func unpack(t *testing.T, archive []byte) (entries []entry) {
	t.Helper()
	at := 0
	take := func(n int) []byte {
		if at+n > len(archive) {
			t.Fatalf("the archive of %d bytes ends before %d", len(archive), at+n)
		}
		at += n
		return archive[at-n : at]
	}
	align := func() {
		for at%4 != 0 {
			if b := take(1); b[0] != 0 {
				t.Fatalf("byte %d of the padding is %#x", at-1, b[0])
			}
		}
	}
	for {
		if magic := take(6); string(magic) != "070701" {
			t.Fatalf("magic %q at offset %d", magic, at-6)
		}
		var field [13]uint64
		for i := range field {
			n, err := strconv.ParseUint(string(take(8)), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			field[i] = n
		}
		name := take(int(field[11]))
		if name[len(name)-1] != 0 {
			t.Fatalf("the name %q does not end with 0", name)
		}
		align()
		e := entry{path: string(name[:len(name)-1]), inode: field[0], mode: field[1], links: field[4], data: string(take(int(field[6])))}
		align()
		for _, i := range []int{2, 3, 5, 7, 8, 9, 10, 12} { // owner, group, time, devices, checksum
			if field[i] != 0 {
				t.Errorf("%s: header field %d is %#x; want 0", e.path, i, field[i])
			}
		}
		if e.path == "TRAILER!!!" {
			if at != len(archive) {
				t.Errorf("%d bytes are left behind the trailer", len(archive)-at)
			}
			return entries
		}
		entries = append(entries, e)
	}
}

func pack(t *testing.T, files []File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := writeCPIO(&b, files); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnArchiveIsUnpackedAsItWasPacked(t *testing.T) {
	got := unpack(t, pack(t, []File{
		{Path: "lib/modules/a.ko", Mode: 0o644, Data: []byte("module")},
		{Path: "init", Mode: 0o755, Data: []byte("program")},
		{Path: "dev", Mode: modeDir | 0o700},
		{Path: "lib-x", Mode: 0o600},
		{Path: "dev/sub/file", Mode: 0o4711, Data: []byte("x")},
	}))
	want := []entry{
		{"dev", modeDir | 0o700, 1, 1, ""},
		{"dev/sub", modeDir | 0o755, 2, 1, ""},
		{"dev/sub/file", modeFile | 0o4711, 3, 1, "x"},
		{"init", modeFile | 0o755, 4, 1, "program"},
		{"lib", modeDir | 0o755, 5, 1, ""},
		{"lib-x", modeFile | 0o600, 6, 1, ""},
		{"lib/modules", modeDir | 0o755, 7, 1, ""},
		{"lib/modules/a.ko", modeFile | 0o644, 8, 1, "module"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("unpacked\n%v; want\n%v", got, want)
	}
}

func TestEveryLengthIsPadded(t *testing.T) {
	for name := 1; name <= 5; name++ {
		for size := range 5 {
			path, data := strings.Repeat("n", name), strings.Repeat("d", size)
			got := unpack(t, pack(t, []File{{Path: path, Data: []byte(data)}, {Path: "z"}}))
			if len(got) != 2 || got[0].path != path || got[0].data != data {
				t.Errorf("a name of %d and a content of %d bytes are unpacked as %v", name, size, got)
			}
		}
	}
}

func TestParentsComeBeforeChildren(t *testing.T) {
	seen := map[string]bool{".": true}
	for _, e := range unpack(t, pack(t, []File{{Path: "z/y/x/w"}, {Path: "a/b"}, {Path: "z/y-/a"}, {Path: "z/y", Mode: modeDir | 0o700}})) {
		if i := strings.LastIndexByte(e.path, '/'); i > 0 && !seen[e.path[:i]] {
			t.Errorf("%s comes before its folder", e.path)
		}
		if seen[e.path] {
			t.Errorf("%s comes twice", e.path)
		}
		seen[e.path] = true
	}
	if !seen["z/y/x"] || !seen["z/y-"] || !seen["a"] {
		t.Errorf("folders are missing in %v", seen)
	}
}

func TestEqualFilesGiveEqualBytesInAnyOrder(t *testing.T) {
	files := []File{{Path: "b/c", Data: []byte("1")}, {Path: "a", Data: []byte("2")}, {Path: "b/a/d", Data: []byte("3")}}
	turned := []File{files[2], files[0], files[1]}
	if !bytes.Equal(pack(t, files), pack(t, turned)) {
		t.Error("the order of the files changes the archive")
	}
}

func TestWhatCannotBeUnpackedIsNotPacked(t *testing.T) {
	for _, c := range []struct {
		files []File
		want  string
	}{
		{[]File{{Path: ""}}, "cannot be an entry's path"},
		{[]File{{Path: "."}}, "cannot be an entry's path"},
		{[]File{{Path: "/init"}}, "cannot be an entry's path"},
		{[]File{{Path: "a/../b"}}, "cannot be an entry's path"},
		{[]File{{Path: "a//b"}}, "cannot be an entry's path"},
		{[]File{{Path: "a/"}}, "cannot be an entry's path"},
		{[]File{{Path: "a\x00b"}}, "cannot be an entry's path"},
		{[]File{{Path: "TRAILER!!!"}}, "cannot be an entry's path"},
		{[]File{{Path: strings.Repeat("x", maxName+1)}}, "cannot be an entry's path"},
		{[]File{{Path: "a"}, {Path: "a"}}, "a is there twice"},
		{[]File{{Path: "a", Mode: modeDir, Data: []byte("x")}}, "the folder a has contents"},
		{[]File{{Path: "a", Mode: 0o120777}}, "a has mode 120777"},
		{[]File{{Path: "a", Mode: 1 << 20}}, "a has mode 4000000"},
	} {
		if err := writeCPIO(io.Discard, c.files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("writeCPIO(%.60v) = %v; want %q", c.files, err, c.want)
		}
	}
}

// failing takes so many bytes, then fails.
type failing int

func (f *failing) Write(b []byte) (int, error) {
	if *f -= failing(len(b)); *f < 0 {
		return 0, fmt.Errorf("disk full")
	}
	return len(b), nil
}

func TestAFailedWriteIsReported(t *testing.T) {
	files := []File{{Path: "a", Data: []byte("12345")}}
	for n := range len(pack(t, files)) {
		f := failing(n)
		if err := writeCPIO(&f, files); err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("writeCPIO() with room for %d bytes = %v; want the failure", n, err)
		}
	}
}
