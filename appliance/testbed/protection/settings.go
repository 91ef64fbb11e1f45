package protection

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bumpless/iec61850/ether"
)

// Settings of the protection guest. They travel on its kernel command line as
// bumpless.NAME=VALUE words.
type Settings struct {
	GoosePeriod  time.Duration
	GooseAPPID   uint16
	GooseDst     ether.Addr
	GooseVLAN    uint16
	GocbRef      string
	SvID         string
	SvRatePerS   uint16
	VerifyPassMs int // one pass over all memory takes at least this long
	Dirty        []Region
	// If the guest has a disk: how much of it is used, and how many blocks are
	// written each second.
	DiskMiB, DiskWritesPerS int
	// Load is what runs beside the protection, out of the userland on the first
	// disk; one of Loads, or "" for nothing, and no userland.
	Load string
}

// Loads that the guest can run.
var Loads = []string{LoadRedis, LoadPostgreSQL, LoadCompile}

// Names of loads.
const (
	LoadRedis      = "redis"
	LoadPostgreSQL = "postgresql"
	LoadCompile    = "compile"
)

// Region of memory that the guest keeps dirtying.
type Region struct {
	Name       string
	MiB        int
	PagesPerS  int
	WriteBytes int // of each page; PageSize rewrites it whole
}

// PageSize in bytes.
const PageSize = 4096

// Bounds of a region.
const (
	maxRegions   = 8
	maxRegionMiB = 16 << 10
	maxPagesPerS = 1 << 20
)

// Defaults of the guest: GOOSE every 10 ms, a small hot and a warm region.
func Defaults() Settings {
	return Settings{
		GoosePeriod: 10 * time.Millisecond, GooseAPPID: 0x1001,
		GooseDst: ether.Addr{0x01, 0x0c, 0xcd, 0x01, 0x00, 0x01}, GooseVLAN: 0,
		GocbRef: "PROT1LD0/LLN0$GO$gcbTrip", SvID: "MU01", SvRatePerS: 4000, VerifyPassMs: 2000,
		Dirty:   []Region{{"hot", 2, 500, PageSize}, {"warm", 16, 500, 64}},
		DiskMiB: 8, DiskWritesPerS: 50,
	}
}

// CommandLine writes the settings as kernel command line words.
func (s Settings) CommandLine() string {
	var regions []string
	for _, r := range s.Dirty {
		regions = append(regions, fmt.Sprintf("%s:%d:%d:%d", r.Name, r.MiB, r.PagesPerS, r.WriteBytes))
	}
	words := []string{
		fmt.Sprintf("goose_period_us=%d", s.GoosePeriod.Microseconds()),
		fmt.Sprintf("goose_appid=%d", s.GooseAPPID),
		"goose_dst=" + s.GooseDst.String(),
		fmt.Sprintf("goose_vlan=%d", s.GooseVLAN),
		"gocb_ref=" + s.GocbRef,
		"sv_id=" + s.SvID,
		fmt.Sprintf("sv_rate=%d", s.SvRatePerS),
		fmt.Sprintf("verify_pass_ms=%d", s.VerifyPassMs),
		"dirty=" + strings.Join(regions, ","),
		fmt.Sprintf("disk_mib=%d", s.DiskMiB),
		fmt.Sprintf("disk_writes_per_s=%d", s.DiskWritesPerS),
	}
	if s.Load != "" {
		words = append(words, "load="+s.Load)
	}
	return "bumpless." + strings.Join(words, " bumpless.")
}

// ParseCommandLine reads the settings out of a kernel command line; what is
// not said keeps its default.
func ParseCommandLine(line string) (Settings, error) {
	s := Defaults()
	for _, word := range strings.Fields(line) {
		rest, ours := strings.CutPrefix(word, "bumpless.")
		if !ours {
			continue
		}
		name, value, _ := strings.Cut(rest, "=")
		if err := s.set(name, value); err != nil {
			return s, fmt.Errorf("kernel command line, bumpless.%s: %w", name, err)
		}
	}
	return s, nil
}

func (s *Settings) set(name, value string) (err error) {
	switch name {
	case "goose_period_us":
		var us int
		us, err = number(value, 1000, 60_000_000)
		s.GoosePeriod = time.Duration(us) * time.Microsecond
	case "goose_appid":
		var n int
		n, err = number(value, 0, 0xffff)
		s.GooseAPPID = uint16(n)
	case "goose_dst":
		s.GooseDst, err = ether.ParseAddr(value)
	case "goose_vlan":
		var n int
		n, err = number(value, 0, 4094)
		s.GooseVLAN = uint16(n)
	case "gocb_ref":
		s.GocbRef = value
	case "sv_id":
		s.SvID = value
	case "sv_rate":
		var n int
		n, err = number(value, 2, 0xffff)
		s.SvRatePerS = uint16(n)
	case "verify_pass_ms":
		s.VerifyPassMs, err = number(value, 10, 3_600_000)
	case "disk_mib":
		s.DiskMiB, err = number(value, 1, maxRegionMiB)
	case "disk_writes_per_s":
		s.DiskWritesPerS, err = number(value, 0, 100_000)
	case "load":
		if s.Load = value; !slices.Contains(Loads, value) {
			err = fmt.Errorf("no load %q, there are %v", value, Loads)
		}
	case "dirty":
		s.Dirty, err = parseRegions(value)
	default:
		err = fmt.Errorf("no such setting")
	}
	return err
}

func parseRegions(value string) ([]Region, error) {
	if value == "" {
		return nil, nil
	}
	parts := strings.Split(value, ",")
	if len(parts) > maxRegions {
		return nil, fmt.Errorf("%d regions, at most %d are allowed", len(parts), maxRegions)
	}
	var regions []Region
	for _, p := range parts {
		f := strings.Split(p, ":")
		if len(f) != 4 {
			return nil, fmt.Errorf("region %q is not NAME:MIB:PAGES_PER_S:WRITE_BYTES", p)
		}
		mib, err1 := number(f[1], 1, maxRegionMiB)
		rate, err2 := number(f[2], 0, maxPagesPerS)
		size, err3 := number(f[3], 8, PageSize)
		for _, err := range []error{err1, err2, err3} {
			if err != nil {
				return nil, fmt.Errorf("region %q: %w", p, err)
			}
		}
		regions = append(regions, Region{f[0], mib, rate, size})
	}
	return regions, nil
}

func number(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is not a number from %d to %d", s, low, high)
	}
	return n, nil
}
