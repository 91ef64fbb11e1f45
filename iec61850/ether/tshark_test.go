package ether

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"bumpless/iec61850/goose"
	"bumpless/iec61850/sv"
)

// capture writes the frames into a pcap file, one a second from 1970 on.
func capture(t *testing.T, frames []Frame) string {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		b, err := AppendFrame(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(int64(i), 0), CaptureLength: len(b), Length: len(b)}, b); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "frames.pcap")
	if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tshark returns a line for each frame, without its warnings on stderr.
func tshark(t *testing.T, path string, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Fatal("tshark is missing: run `make deps`")
	}
	out, err := exec.Command("tshark", append([]string{"-n", "-r", path}, args...)...).Output()
	if err != nil {
		t.Fatalf("tshark %v: %v", args, err)
	}
	if len(out) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// malformed selects the frames in which tshark finds anything wrong.
const malformed = "_ws.malformed || _ws.expert.severity >= 0x00600000 || goose.malformed.utctime || goose.invalid_sim || sv.malformed.utctime || sv.malformed.gmidentity"

// wellFormed wants that tshark finds nothing wrong in any frame.
func wellFormed(t *testing.T, path string) {
	t.Helper()
	for _, line := range tshark(t, path, "-Y", malformed) {
		t.Errorf("malformed: %s", line)
	}
}

// fieldsOf returns the values of the named fields, a row for each frame; those
// that occur several times are joined by ";".
func fieldsOf(t *testing.T, path string, names []string, args ...string) [][]string {
	t.Helper()
	args = append(args, "-T", "fields", "-E", "separator=|", "-E", "aggregator=;", "-E", "occurrence=a")
	for _, n := range names {
		args = append(args, "-e", n)
	}
	var rows [][]string
	for _, line := range tshark(t, path, args...) {
		rows = append(rows, strings.Split(line, "|"))
	}
	return rows
}

// data has every kind, within the 32 bits that tshark shows of an integer.
func data() []goose.Data {
	return []goose.Data{
		{Kind: goose.Boolean, Bool: true}, {Kind: goose.Boolean},
		{Kind: goose.BitString, Bytes: []byte{0x40}, Padding: 6},
		{Kind: goose.BitString, Bytes: []byte{0x08, 0x00}, Padding: 3},
		{Kind: goose.Integer, Int: -70000}, {Kind: goose.Integer, Int: math.MaxInt32}, {Kind: goose.Integer, Int: math.MinInt32},
		{Kind: goose.Unsigned, Uint: 3000000000}, {Kind: goose.Unsigned, Uint: 128},
		{Kind: goose.Float, Float: 230.5}, {Kind: goose.Float, Float: -0.25, Wide: true},
		{Kind: goose.OctetString, Bytes: []byte{1, 2, 0xff}},
		{Kind: goose.VisibleString, Text: "bay 1"},
		{Kind: goose.UtcTime, Time: goose.Timestamp{Seconds: 1700000000, Fraction: 0xc00000, Quality: goose.ClockFailure}},
		{Kind: goose.Structure, Elements: []goose.Data{
			{Kind: goose.Boolean, Bool: true},
			{Kind: goose.Array, Elements: []goose.Data{{Kind: goose.Integer, Int: 1}, {Kind: goose.Integer, Int: 2}}},
		}},
	}
}

// station is a GOOSE frame that the cases change.
func station() goose.Frame {
	return goose.Frame{APPID: 0x3001, PDU: goose.PDU{
		GocbRef: "P1LD0/LLN0$GO$gcb1", TimeAllowedToLiveMs: 1500, DatSet: "P1LD0/LLN0$ds1", GoID: "trip",
		T: goose.Timestamp{Seconds: 1700000000, Fraction: 0x800000, Quality: goose.ClockNotSynchronised | 10}, StNum: 7, SqNum: 300, ConfRev: 2,
		AllData: data(),
	}}
}

var gooseFields = strings.Fields("frame.time_epoch eth.dst eth.src vlan.id vlan.priority goose.appid goose.length goose.reserve1.s_bit goose.gocbRef " +
	"goose.timeAllowedtoLive goose.datSet goose.goID goose.t goose.stNum goose.sqNum goose.simulation goose.confRev goose.ndsCom goose.numDatSetEntries " +
	"goose.structure goose.array goose.boolean goose.bit_string goose.integer goose.unsigned goose.floating_point goose.octet_string goose.visible_string goose.utc_time")

func TestTsharkReadsTheGooseThatIsSent(t *testing.T) {
	type sending struct {
		what  string
		vlan  VLAN
		frame goose.Frame
	}
	var all []sending
	add := func(what string, vlan VLAN, change func(*goose.Frame)) {
		f := station()
		change(&f)
		all = append(all, sending{what, vlan, f})
	}
	tag := VLAN{Present: true, Priority: 4}
	add("untagged", VLAN{}, func(*goose.Frame) {})
	add("priority 4, VLAN 0", tag, func(*goose.Frame) {})
	add("priority 7, VLAN 4095", VLAN{Present: true, Priority: 7, ID: 4095}, func(*goose.Frame) {})
	add("simulated", tag, func(f *goose.Frame) { f.Simulated, f.PDU.Simulation = true, true })
	add("ndsCom", tag, func(f *goose.Frame) { f.PDU.NdsCom = true })
	add("no goID", tag, func(f *goose.Frame) { f.PDU.GoID = "" })
	add("no data", tag, func(f *goose.Frame) { f.PDU.AllData = nil })
	add("counters at their ends", tag, func(f *goose.Frame) {
		f.APPID, f.PDU.StNum, f.PDU.SqNum = 0xffff, math.MaxUint32, math.MaxUint32
		f.PDU.TimeAllowedToLiveMs, f.PDU.ConfRev = math.MaxInt32, math.MaxInt32
	})
	add("a data set that fills the frame", tag, func(f *goose.Frame) {
		f.PDU.AllData = slices.Repeat([]goose.Data{{Kind: goose.Boolean, Bool: true}}, 460)
	})
	var frames []Frame
	var want [][]string
	for i, s := range all {
		payload, err := goose.Marshal(s.frame)
		if err != nil {
			t.Fatalf("%s: %v", s.what, err)
		}
		frames = append(frames, Frame{Dst: gooseDst, Src: stationA, VLAN: s.vlan, EtherType: goose.EtherType, Payload: payload})
		want = append(want, gooseRow(i, s.vlan, s.frame, len(payload)))
	}
	path := capture(t, frames)
	wellFormed(t, path)
	compare(t, gooseFields, fieldsOf(t, path, gooseFields), want)
}

// gooseRow is what tshark must print for gooseFields.
func gooseRow(i int, vlan VLAN, f goose.Frame, length int) []string {
	p := f.PDU
	values := map[string][]string{}
	addData(values, p.AllData)
	row := []string{fmt.Sprintf("%d.000000000", i), gooseDst.String(), stationA.String(), "", "", fmt.Sprintf("0x%04x", f.APPID), fmt.Sprint(length), bit(f.Simulated),
		p.GocbRef, fmt.Sprint(p.TimeAllowedToLiveMs), p.DatSet, p.GoID, utc(p.T), fmt.Sprint(p.StNum), fmt.Sprint(p.SqNum), bit(p.Simulation),
		fmt.Sprint(p.ConfRev), bit(p.NdsCom), fmt.Sprint(len(p.AllData))}
	if vlan.Present {
		row[3], row[4] = fmt.Sprint(vlan.ID), fmt.Sprint(vlan.Priority)
	}
	for _, name := range gooseFields[len(row):] {
		row = append(row, strings.Join(values[name], ";"))
	}
	return row
}

// addData notes how tshark prints each value, by the name of its field.
func addData(values map[string][]string, data []goose.Data) {
	for _, d := range data {
		name, text := "", ""
		switch d.Kind {
		case goose.Structure:
			name, text = "structure", fmt.Sprint(len(d.Elements))
		case goose.Array:
			name, text = "array", fmt.Sprint(len(d.Elements))
		case goose.Boolean:
			name, text = "boolean", bit(d.Bool)
		case goose.BitString:
			name, text = "bit_string", fmt.Sprintf("%x", d.Bytes)
		case goose.Integer:
			name, text = "integer", fmt.Sprint(d.Int)
		case goose.Unsigned:
			name, text = "unsigned", fmt.Sprint(int32(d.Uint)) // tshark's field is signed
		case goose.Float:
			name, text = "floating_point", fmt.Sprintf("08%08x", math.Float32bits(float32(d.Float)))
			if d.Wide {
				text = fmt.Sprintf("0b%016x", math.Float64bits(d.Float))
			}
		case goose.OctetString:
			name, text = "octet_string", fmt.Sprintf("%x", d.Bytes)
		case goose.VisibleString:
			name, text = "visible_string", d.Text
		case goose.UtcTime:
			name, text = "utc_time", utc(d.Time)
		}
		values["goose."+name] = append(values["goose."+name], text)
		addData(values, d.Elements)
	}
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// utc is how tshark prints a UtcTime.
func utc(t goose.Timestamp) string {
	return t.Time().Format("Jan _2, 2006 15:04:05.000000000 UTC")
}

func compare(t *testing.T, names []string, got, want [][]string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("tshark reads %d frames; want %d", len(got), len(want))
	}
	for i := range want {
		if len(got[i]) != len(names) || len(want[i]) != len(names) {
			t.Fatalf("frame %d: %d values, want %d of %d fields", i, len(got[i]), len(want[i]), len(names))
		}
		for j, name := range names {
			if got[i][j] != want[i][j] {
				t.Errorf("frame %d: %s = %.200q; want %.200q", i, name, got[i][j], want[i][j])
			}
		}
	}
}

var svFields = strings.Fields("eth.dst vlan.id vlan.priority sv.appid sv.length sv.reserve1.s_bit sv.noASDU sv.svID sv.datSet sv.smpCnt sv.confRev sv.refrTm " +
	"sv.smpSynch sv.smpRate sv.smpMod sv.gmidentity sv.meas_value sv.meas_quality sv.meas_quality.validity")

func samples(smpCnt uint16) sv.ASDU {
	m := [sv.Channels]sv.Measurement{{Value: math.MinInt32, Quality: 1}, {Value: math.MaxInt32, Quality: 0x1003}, {Value: int32(smpCnt)}}
	return sv.ASDU{SvID: "MU01", SmpCnt: smpCnt, ConfRev: 1, SmpSynch: byte(smpCnt % 3), SeqData: sv.EncodePhsMeas(m)}
}

func TestTsharkReadsTheSampledValuesThatAreSent(t *testing.T) {
	rate, mode := uint16(80), uint16(1)
	full := samples(4799)
	full.DatSet, full.ConfRev, full.SmpRate, full.SmpMod = "MU01/LLN0$PhsMeas1", math.MaxUint32, &rate, &mode
	full.RefrTm, full.GmIdentity = []byte{0x65, 0x53, 0xf1, 0, 0x80, 0, 0, 10}, []byte{1, 2, 3, 4, 5, 6, 7, 8}
	var eight []sv.ASDU
	for i := range 8 {
		eight = append(eight, samples(uint16(3996+i)%4000))
	}
	tag := VLAN{Present: true, Priority: 4, ID: 10}
	var frames []Frame
	var want [][]string
	for _, s := range []struct {
		vlan  VLAN
		frame sv.Frame
	}{
		{VLAN{}, sv.Frame{APPID: 0x4000, ASDUs: []sv.ASDU{samples(0)}}},
		{tag, sv.Frame{APPID: 0x7fff, ASDUs: []sv.ASDU{samples(65535)}}},
		{tag, sv.Frame{APPID: 0x4000, ASDUs: eight}},
		{tag, sv.Frame{APPID: 0x4000, Simulated: true, ASDUs: []sv.ASDU{full}}},
		{tag, sv.Frame{APPID: 0x4000, ASDUs: []sv.ASDU{full, samples(1), full}}},
	} {
		payload, err := sv.Marshal(s.frame)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, Frame{Dst: gooseDst, Src: stationA, VLAN: s.vlan, EtherType: sv.EtherType, Payload: payload})
		want = append(want, svRow(s.vlan, s.frame, len(payload)))
	}
	path := capture(t, frames)
	wellFormed(t, path)
	compare(t, svFields, fieldsOf(t, path, svFields, "-o", "sv.decode_data_as_phsmeas:TRUE"), want)
}

// svRow is what tshark must print for svFields.
func svRow(vlan VLAN, f sv.Frame, length int) []string {
	values := map[string][]string{}
	add := func(name, format string, v any) { values[name] = append(values[name], fmt.Sprintf(format, v)) }
	if vlan.Present {
		add("vlan.id", "%d", vlan.ID)
		add("vlan.priority", "%d", vlan.Priority)
	}
	add("eth.dst", "%v", gooseDst)
	add("sv.appid", "0x%04x", f.APPID)
	add("sv.length", "%d", length)
	add("sv.reserve1.s_bit", "%s", bit(f.Simulated))
	add("sv.noASDU", "%d", len(f.ASDUs))
	for _, a := range f.ASDUs {
		add("sv.svID", "%s", a.SvID)
		add("sv.smpCnt", "%d", a.SmpCnt)
		add("sv.confRev", "%d", a.ConfRev)
		add("sv.smpSynch", "%d", a.SmpSynch)
		if a.DatSet != "" {
			add("sv.datSet", "%s", a.DatSet)
		}
		if a.RefrTm != nil {
			add("sv.refrTm", "%s", "Nov 14, 2023 22:13:20.500000000 UTC")
		}
		if a.SmpRate != nil {
			add("sv.smpRate", "%d", *a.SmpRate)
		}
		if a.SmpMod != nil {
			add("sv.smpMod", "%d", *a.SmpMod)
		}
		if a.GmIdentity != nil {
			add("sv.gmidentity", "0x%x", a.GmIdentity)
		}
		m, err := sv.DecodePhsMeas(a.SeqData)
		if err != nil {
			panic(err) // samples made it
		}
		for _, c := range m {
			add("sv.meas_value", "%d", c.Value)
			add("sv.meas_quality", "0x%08x", c.Quality)
			add("sv.meas_quality.validity", "0x%08x", c.Quality&3)
		}
	}
	var row []string
	for _, name := range svFields {
		row = append(row, strings.Join(values[name], ";"))
	}
	return row
}

// TestTsharkFindsWhatIsMalformed guards the tests above: the filter that must
// select nothing there has to select a frame that is cut off.
func TestTsharkFindsWhatIsMalformed(t *testing.T) {
	payload, err := goose.Marshal(station())
	if err != nil {
		t.Fatal(err)
	}
	path := capture(t, []Frame{{Dst: gooseDst, EtherType: goose.EtherType, Payload: payload[:len(payload)-20]}})
	if lines := tshark(t, path, "-Y", malformed); len(lines) != 1 {
		t.Errorf("tshark selects %d frames; want the one that is cut off", len(lines))
	}
}
