package stream

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

var wholeLines = []string{
	"config pc-q35-10.0", "command 1, 5 bytes", "command 2, 9 bytes", "start 3 blocks",
	"page 0:0 1", "page 0:1 2", "page 1:0 zero", "page 2:1 3", "end last=false",
	"page 2:0 4", "end last=false", "end last=false", "command 11, 5 bytes", "page 0:0 5", "end last=true",
}

func TestReaderTakesAWholeStreamApart(t *testing.T) {
	for _, way := range []struct {
		name string
		in   func(io.Reader) io.Reader
	}{
		{"at once", func(r io.Reader) io.Reader { return r }},
		{"byte by byte", iotest.OneByteReader},
		{"halves", iotest.HalfReader},
		{"data with the error", iotest.DataErrReader},
	} {
		lines, state, err := readAll(NewReader(way.in(bytes.NewReader(whole().Bytes())), 4096))
		if err != nil || !slices.Equal(lines, wholeLines) {
			t.Errorf("%s: %q, %v; want %q", way.name, lines, err, wholeLines)
		}
		if want := tail("device {state}", `{"devices":[]}`); !bytes.Equal(state, want) {
			t.Errorf("%s: Tail() = %q; want %q", way.name, state, want)
		}
	}
}

func TestReaderRefusesWhatIsWrongByFieldAndOffset(t *testing.T) {
	start := int64(begun().Len())
	huge := strings.Repeat("x", 255)
	var many []Block
	for i := range MaxBlocks + 1 {
		many = append(many, Block{strings.Repeat("b", i+1), PageSize})
	}
	for _, c := range []struct {
		name   string
		in     *build
		field  string
		offset int64
	}{
		{"nothing", new(build), "header", 0},
		{"no magic", new(build).u32(1).u32(3).u8(7).u32(0), "magic", 0},
		{"version 2", new(build).u32(magic).u32(2).u8(7).u32(0), "version", 4},
		{"no configuration", new(build).u32(magic).u32(3).u8(1).u32(0), "configuration", 8},
		{"endless machine name", new(build).u32(magic).u32(3).u8(7).u32(1 << 31), "configuration", 8},
		{"truncated machine name", new(build).u32(magic).u32(3).u8(7).u32(4).u8('p'), "machine name", 14},
		{"subsection", new(build).header().u8(5), "configuration", 24},
		{"unknown opening byte", new(build).header().u8(0x42), "section", 25},
		{"device state first", new(build).header().u8(0x04), "section", 25},
		{"unknown command", new(build).header().command(3), "command", 29},
		{"long command", new(build).header().u8(8).u16(2).u16(65535), "command", 29},
		{"truncated command", new(build).header().u8(8).u16(2).u16(4).u8(0), "command data", 30},
		{"block migration", new(build).header().u8(1).u32(3).name("block").u32(0).u32(1), "section", 43},
		{"old RAM", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(3), "section", 41},
		{"no RAM", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(4).u64(4), "RAM size", 49},
		{"no flag of RAM size", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(4).u64(4096), "RAM size", 49},
		{"16 EiB of RAM", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(4).u64(^uint64(0xfff) | 4), "RAM size", 49},
		{"block beyond the total", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(4).u64(4096 | 4).name("a").u64(8192), "block size", 59},
		{"block of no bytes", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(4).u64(4096 | 4).name("a").u64(0), "block size", 59},
		{"crooked block", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(4).u64(4096 | 4).name("a").u64(100), "block size", 59},
		{"a block twice", new(build).header().ramStart(Block{"a", 4096}, Block{"a", 4096}), "block name", 69},
		{"too many blocks", new(build).header().ramStart(many...), "block size", 49 + 9*65 + 65*66/2},
		{"mapped-ram", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(4).u64(4096 | 4).name("a").u64(4096).u64(1), "end of RAM START", 67},
		{"wrong footer", new(build).header().u8(1).u32(2).name("ram").u32(0).u32(4).u64(4096 | 4).name("a").u64(4096).u64(16).u8(0x7e).u32(9), "section footer", 72},
		{"a second START", begun().ramStart(testBlocks...), "section", start + 1},
		{"pages before START", new(build).header().section(2), "section id", 29},
		{"another section's pages", begun().u8(2).u32(7), "section id", start + 5},
		{"CONTINUE first", begun().section(2).more(0, 1), "page header", start + 13},
		{"unknown block", begun().section(2).page(huge, 0, 1), "block name", start + 5 + 8 + 256},
		{"page behind its block", begun().section(2).page("pc.ram", 64*PageSize, 1), "page header", start + 5 + 8 + 7},
		{"page far behind", begun().section(2).page("pc.ram", 1<<62, 1), "page header", start + 5 + 8 + 7},
		{"xbzrle", begun().section(2).u64(0x40).name("pc.ram"), "page header", start + 5 + 8 + 7},
		{"multifd flush", begun().section(2).u64(0x200).name("pc.ram"), "page header", start + 5 + 8 + 7},
		{"page that is zero and not", begun().section(2).u64(0x0a).name("pc.ram"), "page header", start + 5 + 8 + 7},
		{"filled with ones", begun().section(2).u64(0x02).name("pc.ram").u8(1), "zero page", start + 5 + 8 + 7 + 1},
		{"truncated page", begun().section(2).u64(0x08).name("pc.ram").u8(1, 2, 3), "page", start + 5 + 8 + 7 + 3},
		{"section without a footer", begun().section(2).u64(0x10).u8(0x02).u32(2), "section footer", start + 18},
	} {
		_, _, err := readAll(NewReader(bytes.NewReader(c.in.Bytes()), 4096))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v; want an *Error", c.name, err)
		} else if e.Field != c.field || e.Offset != c.offset {
			t.Errorf("%s: %q at %d (%v); want %q at %d", c.name, e.Field, e.Offset, err, c.field, c.offset)
		}
	}
}

func TestEveryTruncationIsAnErrorAndSaysSo(t *testing.T) {
	full := whole().Bytes()
	for n := range full {
		if n > 600 && n%97 != 0 && n < len(full)-64 {
			continue // within a page's content one cut is like another
		}
		_, _, err := readAll(NewReader(bytes.NewReader(full[:n]), 4096))
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%d of %d bytes: %v; want an *Error with ErrUnexpectedEOF", n, len(full), err)
		}
	}
}

// What a stream claims must not cost memory before it is checked.
func TestClaimsCostNoMemory(t *testing.T) {
	claims := map[string]*build{
		"machine name of 4 GiB": new(build).u32(magic).u32(3).u8(7).u32(1<<32 - 1),
		"16 TiB of RAM":         new(build).header().ramStart(Block{"a", MaxRAMBytes}),
		"command of 64 KiB":     new(build).header().u8(8).u16(2).u16(65535),
	}
	for name, in := range claims {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := readAll(NewReader(bytes.NewReader(in.Bytes()), 4096))
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s: %d bytes were allocated; want at most 64 KiB", name, n)
		}
	}
}

func TestNothingIsReadAsPagesAfterRAMEnd(t *testing.T) {
	r := NewReader(bytes.NewReader(whole().Bytes()), 4096)
	for {
		record, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if record.Last {
			break
		}
	}
	if record, err := r.Next(); err == nil {
		t.Errorf("Next() after RAM END = %+v; want an error", record)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(whole().Bytes())
	f.Add(begun().section(2).zero("pc.ram", 0).endSection().Bytes())
	f.Add(new(build).header().ramStart(Block{"a", MaxRAMBytes}).Bytes())
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in), 64)
		for {
			record, err := r.Next()
			if err != nil {
				var e *Error
				if !errors.As(err, &e) || e.Field == "" || e.Offset > int64(len(in)) {
					t.Fatalf("%v; want an *Error with a field and an offset within %d bytes", err, len(in))
				}
				return
			}
			if record.Kind == Page && (record.Offset%PageSize != 0 || record.Offset >= r.blocks[record.Block].Size || (record.Data == nil) != record.Zero) {
				t.Fatalf("page %+v is outside its block", record)
			}
			if record.Last {
				_, _ = r.Tail() // must end
				return
			}
		}
	})
}
