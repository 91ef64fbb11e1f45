package protection

import (
	"strings"
	"testing"

	"bumpless/iec61850/goose"
)

func TestAReportComesBackAsItWasSent(t *testing.T) {
	r := Report{BootID: 0xffffffff, PagesWritten: 1, VerifyPasses: 2, CorruptPages: 3, SVReceived: 4, SVLost: 5, Trip: true, DiskWritten: 6, DiskPasses: 7, DiskCorrupt: 8, LoadRounds: 9, LoadFailures: 10}
	got, err := ParseReport(r.DataSet())
	if err != nil || got != r {
		t.Errorf("ParseReport() = %+v, %v; want %+v", got, err, r)
	}
	old := r
	old.LoadRounds, old.LoadFailures = 0, 0
	if got, err = ParseReport(r.DataSet()[:membersV2]); err != nil || got != old {
		t.Errorf("ParseReport() of the version before = %+v, %v; want %+v", got, err, old)
	}
}

func TestAWrongReportIsRefused(t *testing.T) {
	for want, change := range map[string]func([]goose.Data) []goose.Data{
		"8 members, want 10 or 12":            func(d []goose.Data) []goose.Data { return d[:8] },
		"0 members":                           func([]goose.Data) []goose.Data { return nil },
		"member 6 is not a boolean":           func(d []goose.Data) []goose.Data { d[6] = d[5]; return d },
		"member 9 is not an unsigned integer": func(d []goose.Data) []goose.Data { d[9] = d[6]; return d },
		"boot id 4294967296 has more than 32": func(d []goose.Data) []goose.Data { d[0].Uint = 1 << 32; return d },
	} {
		if _, err := ParseReport(change(Report{}.DataSet())); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseReport() = %v; want %s", err, want)
		}
	}
}

func TestSettingsComeBackFromTheCommandLine(t *testing.T) {
	s := Defaults()
	s.DiskMiB, s.DiskWritesPerS = 3, 77
	got, err := ParseCommandLine("quiet " + s.CommandLine())
	if err != nil || got.CommandLine() != s.CommandLine() || got.DiskMiB != 3 || got.DiskWritesPerS != 77 {
		t.Errorf("ParseCommandLine() = %+v, %v; want %+v", got, err, s)
	}
	if _, err := ParseCommandLine("bumpless.disk_mib=0"); err == nil {
		t.Error("ParseCommandLine() takes a disk of 0 MiB")
	}
}

func TestALoadIsOneOfThoseThatTheGuestKnows(t *testing.T) {
	for _, load := range Loads {
		s := Defaults()
		s.Load = load
		if got, err := ParseCommandLine(s.CommandLine()); err != nil || got.Load != load {
			t.Errorf("ParseCommandLine() of the load %s = %q, %v", load, got.Load, err)
		}
	}
	if got, err := ParseCommandLine(Defaults().CommandLine()); err != nil || got.Load != "" {
		t.Errorf("ParseCommandLine() without a load = %q, %v; want none", got.Load, err)
	}
	if _, err := ParseCommandLine("bumpless.load=mysql"); err == nil || !strings.Contains(err.Error(), "redis") {
		t.Errorf("ParseCommandLine() of an unknown load = %v; want the known ones named", err)
	}
}
