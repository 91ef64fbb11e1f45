package console

import (
	"bytes"
	"testing"
	"time"
)

// A screen with a clock that steps advances between lines.
func steppedScreen(rewrite bool, step time.Duration) (*Screen, *bytes.Buffer) {
	var out bytes.Buffer
	clock := time.Unix(0, 0)
	return &Screen{Out: &out, Rewrite: rewrite, Columns: 10, Now: func() time.Time { clock = clock.Add(step); return clock }}, &out
}

func TestATerminalSeesOneLineRewritten(t *testing.T) {
	s, out := steppedScreen(true, rewriteEvery)
	s.Live("a", "pass 1")
	s.Live("a", "pass 2, longer than the terminal")
	s.Print("done\n")
	if want := "\r\x1b[Kpass 1\r\x1b[Kpass 2, l\ndone\n"; out.String() != want {
		t.Errorf("the terminal got %q; want %q", out, want)
	}
}

func TestAPipeSeesFewWholeLines(t *testing.T) {
	s, out := steppedScreen(false, plainEvery/4)
	for range 9 {
		s.Live("a", "pass")
	}
	s.Live("b", "other\x1b[2J")
	s.Print("done\n")
	if want := "pass\npass\npass\nother?[2J\ndone\n"; out.String() != want {
		t.Errorf("the pipe got %q; want %q", out, want)
	}
}
