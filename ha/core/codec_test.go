package core

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

var everyCommand = []Command{
	{RegisterHost: &RegisterHost{Name: "a", Role: Server, MemoryMiB: 4096}},
	{RegisterGuest: &RegisterGuest{GuestSpec: GuestSpec{Name: "g", Spec: "g", MemoryMiB: 512, Group: "p", BudgetMs: 300, Preferred: "a"}, Wanted: true}},
	{SetWanted: &SetWanted{Guest: "g", Wanted: true}},
	{SetMaintenance: &SetMaintenance{Host: "a", On: true, Reason: "fans"}},
	{Assign: &Assign{Guest: "g", To: "a", Epoch: 3, Reason: "first start"}},
	{BeginMove: &BeginMove{ID: "g-4", Guest: "g", To: "b", Epoch: 3, Reason: "drain", Insist: true}},
	{DestinationReady: &DestinationReady{ID: "g-4", Addresses: []string{"192.0.2.1:7000", "[2001:db8::1]:7000"}}},
	{FinishMove: &FinishMove{ID: "g-4", Outcome: Moved, Why: "host b runs it"}},
	{MoveInDoubt: &MoveInDoubt{ID: "g-4", Why: "no RUNNING"}},
	{ReportStopped: &ReportStopped{Host: "a", Guest: "g", Epoch: 3, Why: "killed"}},
	{Term: 7, HostGone: &HostGone{Host: "a", Proof: FencedOff, Copies: map[string]uint64{"g": 3}, Detail: "outlet 4 reads off"}},
}

func TestEveryCommandComesBackAsItWas(t *testing.T) {
	for _, c := range everyCommand {
		c.Version, c.By = CommandVersion, Order{Name: "olga", Role: "OPERATOR", AtMs: 1_700_000_000_000}
		b, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeCommand(b)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("DecodeCommand(Encode()) = %+v, %v; want %+v", got, err, c)
		}
	}
}

func TestAStateComesBackAsItWas(t *testing.T) {
	l := site(t).place("scada", "a").place("main1", "b").move("scada", "b").ready("scada").doubt("scada").gone("b")
	for _, s := range []State{NewState(), l.state} {
		b, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeState(b)
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("DecodeState(Encode()) = %+v, %v; want %+v", got, err, s)
		}
	}
}

func TestDecodersRefuseWhatIsTooLongOrTooNew(t *testing.T) {
	tests := []struct{ name, err, want string }{
		{"a long command", errorOf(DecodeCommand(make([]byte, MaxCommandBytes+1))), "at most 65536"},
		{"a broken command", errorOf(DecodeCommand([]byte(`{"assign":`))), "decode command"},
		{"a long state", errorOf(DecodeState(make([]byte, MaxStateBytes+1))), "at most 8388608"},
		{"a state of a later release", errorOf(DecodeState([]byte(`{"version":2}`))), "update this host"},
		{"a state without a version", errorOf(DecodeState([]byte(`{}`))), "version 0"},
		{"a broken state", errorOf(DecodeState([]byte(`[`))), "decode state"},
	}
	for _, tt := range tests {
		if !strings.Contains(tt.err, tt.want) {
			t.Errorf("%s: error %q; want %q in it", tt.name, tt.err, tt.want)
		}
	}
	big := Command{HostGone: &HostGone{Host: "a", Detail: strings.Repeat("x", MaxCommandBytes)}}
	if _, err := big.Encode(); err == nil {
		t.Error("a command above the bound is encoded")
	}
}

func errorOf[T any](_ T, err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAStateWithNullMapsCanBeWritten(t *testing.T) {
	s, err := DecodeState([]byte(`{"version":1,"hosts":null,"guests":{"g":{"name":"g","may_run":null}},"moves":null}`))
	if err != nil {
		t.Fatal(err)
	}
	s.Hosts["a"], s.Moves["g"] = Host{}, Move{}
	s.Guests["g"].MayRun["a"] = 1
}

// A command from the log must never make Apply panic, and must be applied
// equally by a host that has read the state from a snapshot.
func FuzzDecodeCommand(f *testing.F) {
	for _, c := range everyCommand {
		b, err := c.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":99}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCommand(b)
		if err != nil {
			return
		}
		l := site(t).place("scada", "a").place("main1", "b").move("scada", "c")
		next, result := Apply(l.state, c)
		if next.Index != l.state.Index+1 || result.Index != next.Index {
			t.Fatalf("Apply() = index %d, %d; want %d", next.Index, result.Index, l.state.Index+1)
		}
		raw, err := l.state.Encode()
		if err != nil {
			t.Fatal(err)
		}
		read, err := DecodeState(raw)
		if err != nil {
			t.Fatal(err)
		}
		other, again := Apply(read, c)
		one, err1 := next.Encode()
		two, err2 := other.Encode()
		if err1 != nil || err2 != nil || !bytes.Equal(one, two) || result != again {
			t.Fatalf("Apply() differs after a snapshot:\n%s\n%s", one, two)
		}
	})
}

func FuzzDecodeState(f *testing.F) {
	for _, s := range []State{NewState(), site(f).state} {
		b, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":1,"guests":{"g":{"may_run":{"a":1}}},"moves":{"g":{"id":"g-2","from":"a","to":"b"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeState(b)
		if err != nil {
			return
		}
		for _, c := range everyCommand {
			Apply(s, c)
		}
		once, err := s.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeState(once)
		if err != nil {
			t.Fatalf("what was decoded once cannot be decoded again: %v", err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("encoding is not stable (%v):\n%s\n%s", err, once, twice)
		}
	})
}
