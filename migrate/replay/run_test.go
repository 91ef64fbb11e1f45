package replay

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"bumpless/migrate/policy"
)

func TestALoadIsTheSameForTheSameSeed(t *testing.T) {
	for _, l := range Loads() {
		a, b, other := l.Trace(7, time.Second), l.Trace(7, time.Second), l.Trace(8, time.Second)
		if err := a.Check(); err != nil {
			t.Errorf("%s: %v", l.Name, err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Errorf("%s: two traces of one seed differ", l.Name)
		}
		if reflect.DeepEqual(a, other) {
			t.Errorf("%s: traces of two seeds are equal", l.Name)
		}
	}
}

func TestALoadWritesAsFastAsItSays(t *testing.T) {
	l := Load{Name: "ring", MiB: 64, UsedMiB: 1, Regions: []Region{{MiB: 32, PagesPerS: 1000, Class: Packed(PageSize), Ring: true}}}
	writes := 0
	for _, p := range l.Trace(1, 2*time.Second).Passes[1:] {
		for _, s := range p.Spans {
			if s.First < 256+64 || s.First+s.Count > 256+64+32*256 {
				t.Fatalf("%+v is outside the region", s)
			}
			writes += int(s.Count)
		}
	}
	if writes != 2000 {
		t.Errorf("%d pages in 2 s; want 2000: no page comes twice within 8 s", writes)
	}
}

func TestTheFiguresAreTheSameOnEveryRun(t *testing.T) {
	trace := traceOf(t, "mix")
	for _, name := range policy.Names() {
		s := settings(200e6, 300*time.Millisecond)
		if a, b := figures(t, trace, name, s), figures(t, trace, name, s); a != b {
			t.Errorf("%s: %+v, then %+v", name, a, b)
		}
	}
}

// quiet is a guest of 64 MiB, half of it incompressible, that writes nothing.
func quiet() Trace {
	return Trace{Pages: 16384, Passes: []Pass{{Spans: []Span{{0, 8192, Packed(PageSize)}}}}}
}

// The figures of a quiet guest can be had with a pencil.
func TestAQuietGuestsFiguresCanBeCalculated(t *testing.T) {
	s := Defaults()
	s.Link = Link{BitsPerS: 100_000_000, RTT: 10 * time.Millisecond, ReservePercent: 20} // 10 MB/s for the move
	s.Ask = 0
	f := figures(t, quiet(), "precopy", s)
	content := int64(8192 * PageSize)
	if f.Outcome != Moved || f.LinkBytes < content+s.Costs.TailBytes || f.LinkBytes > (content+s.Costs.TailBytes)*103/100 {
		t.Errorf("%+v; want moved, with %d bytes of content and 1 or 2 %% of heads", f, content+s.Costs.TailBytes)
	}
	if got, want := f.Total.Seconds(), float64(f.LinkBytes)/10e6; got < want || got > want+0.5 {
		t.Errorf("%.2f s; want %.2f s for the bytes and little more", got, want)
	}
	// stop 3, tail 171064 bytes 17.1, load 8, one and a half round trips 15
	if want := 43100 * time.Microsecond; (f.Pause - want).Abs() > 100*time.Microsecond {
		t.Errorf("pause %v; want %v", f.Pause, want)
	}
}

func TestALargerReserveTakesLonger(t *testing.T) {
	s := Defaults()
	s.Link.ReservePercent, s.Ask, s.Costs = 0, 0, Costs{}
	whole := figures(t, quiet(), "precopy", s).Total
	s.Link.ReservePercent = 50
	if half := figures(t, quiet(), "precopy", s).Total; half < whole*17/10 || half > whole*21/10 {
		t.Errorf("%v with half of the link, %v with all of it; want about twice as long", half, whole)
	}
}

// A guest that begins to write much between the decision and the stop: at the end
// of its bulk it has written nothing.
func TestAStopThatTakesTooLongIsRolledBackWithinTheBudget(t *testing.T) {
	s := Defaults()
	s.Link = Link{BitsPerS: 800_000_000}
	s.Ask = policy.AskPatience
	s.FixedEstimate = 0
	late := figures(t, quiet(), "precopy", s).FirstPass.Truncate(time.Millisecond) + policy.AskPatience/2
	trace := quiet()
	trace.Passes = append(trace.Passes, Pass{At: late, Spans: []Span{{0, 8192, Packed(PageSize)}}}, Pass{At: time.Hour})
	f := figures(t, trace, "precopy", s)
	if want := s.Budget - s.Margin + s.Costs.Resume; f.Outcome != RolledBack || f.Pause != want || f.Pause > s.Budget {
		t.Errorf("%+v; want rolled back after %v", f, want)
	}
}

func TestAMoveEndsInTime(t *testing.T) {
	s := Defaults()
	s.Timeout = time.Second
	f := figures(t, traceOf(t, "hot48"), "precopy", settings(200e6, 300*time.Millisecond))
	if f.Outcome != Refused || !strings.Contains(f.Reason, "needs ") || f.Pause != 0 {
		t.Errorf("%+v; want refused with what would help, and no stop", f)
	}
	s.Link.BitsPerS = 100e6
	if f := figures(t, traceOf(t, "hot48"), "delayed", s); f.Outcome != TimedOut || f.Pause != 0 {
		t.Errorf("%+v; want timed out", f)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"no link":                   func(s *Settings) { s.Link.BitsPerS = 0 },
		"nothing but a reserve":     func(s *Settings) { s.Link.ReservePercent = 100 },
		"a negative reserve":        func(s *Settings) { s.Link.ReservePercent = -1 },
		"a margin above the budget": func(s *Settings) { s.Margin = s.Budget },
		"no interval":               func(s *Settings) { s.PassInterval = 0 },
		"no queue":                  func(s *Settings) { s.QueuePages = 0 },
		"no timeout":                func(s *Settings) { s.Timeout = 0 },
	} {
		s := Defaults()
		change(&s)
		if _, err := Run(quiet(), "precopy", s); err == nil {
			t.Errorf("%s: Run() = nil; want an error", name)
		}
	}
	if _, err := Run(quiet(), "fastest", Defaults()); err == nil {
		t.Error("an unknown policy: Run() = nil; want an error")
	}
}

// A page that was sent, became zero and then something else is not what was sent.
func TestAContentThatComesAfterZeroIsNew(t *testing.T) {
	m := newMemory(Trace{Pages: 1, Passes: []Pass{{Spans: []Span{{0, 1, Packed(1)}}}}})
	sent := m.content[0]
	for _, c := range []struct {
		class Class
		same  bool
	}{{Unchanged, true}, {Zero, false}, {Packed(1), false}, {Unchanged, false}} {
		m.write(Pass{Spans: []Span{{0, 1, c.class}}})
		if same := m.content[0].number == sent.number; same != c.same {
			t.Errorf("after class %d: as it was sent: %v; want %v", c.class, same, c.same)
		}
	}
}

func TestATraceBeginsAgainBehindItsEnd(t *testing.T) {
	m := newMemory(Trace{Pages: 64, Passes: []Pass{{}, {At: time.Second, Spans: []Span{{1, 1, Packed(1)}}}, {At: 2 * time.Second, Spans: []Span{{2, 1, Packed(1)}}}}})
	m.take(nil)
	for second, want := range []uint32{0, 1, 2, 1, 2, 1} {
		m.runTo(time.Duration(second) * time.Second)
		if got := m.take(nil); second > 0 && (len(got) != 1 || got[0] != want) {
			t.Errorf("second %d: pages %v; want %d", second, got, want)
		}
	}
}

func TestNoMorePagesAreHeldThanAllowed(t *testing.T) {
	s := settings(200e6, 300*time.Millisecond)
	free := figures(t, traceOf(t, "hot16"), "layered", s)
	s.HeldPages = 0
	if got, precopy := figures(t, traceOf(t, "hot16"), "layered", s), figures(t, traceOf(t, "hot16"), "precopy", s); got.LinkBytes != precopy.LinkBytes || got.LinkBytes <= free.LinkBytes {
		t.Errorf("%d bytes without a page held, %d with, %d by precopy; want as many as by precopy, and more than with", got.LinkBytes, free.LinkBytes, precopy.LinkBytes)
	}
}
