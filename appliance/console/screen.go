package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"bumpless/appliance/api"
)

// Rates of the live line. A terminal takes ten a second; a line of 100 bytes
// takes 0.1 s at 9600 baud, and a person reads one a second.
const (
	rewriteEvery = 100 * time.Millisecond
	plainEvery   = time.Second
)

// Screen is where a command's answer goes. It is not safe for concurrent use.
type Screen struct {
	Out io.Writer
	// Rewrite: Out is a terminal that understands CR and "erase line". It has
	// Columns.
	Rewrite bool
	Columns int
	// Now is the local clock, for the rate of live lines.
	Now func() time.Time

	shown    bool // a live line stands there
	lastKey  string
	lastLive time.Time
}

// Printf writes text. What came from elsewhere may hold anything: control
// characters are not passed on to a terminal.
func (s *Screen) Printf(format string, args ...any) { s.Print(fmt.Sprintf(format, args...)) }

// Print is Printf without a format.
func (s *Screen) Print(text string) {
	s.settle()
	s.write(printable(text))
}

// Write makes a Screen an io.Writer, for tables and help.
func (s *Screen) Write(p []byte) (int, error) {
	s.Print(string(p))
	return len(p), nil
}

// Live shows a line that the next one with this key replaces. Where nothing can
// be rewritten it is a plain line, at most one in plainEvery.
func (s *Screen) Live(key, text string) {
	every := plainEvery
	if s.Rewrite {
		every = rewriteEvery
	}
	if key == s.lastKey && s.Now().Sub(s.lastLive) < every {
		return
	}
	s.lastKey, s.lastLive = key, s.Now()
	text = printable(text)
	if !s.Rewrite {
		s.write(text + "\n")
		return
	}
	if r := []rune(text); len(r) >= s.Columns && s.Columns > 0 {
		text = string(r[:s.Columns-1])
	}
	s.write("\r\x1b[K" + text)
	s.shown = true
}

// settle leaves a live line standing.
func (s *Screen) settle() {
	if s.shown {
		s.write("\n")
		s.shown = false
	}
}

// write gives up silently: whoever looked at the screen went away, and an order
// that was given is carried out all the same.
func (s *Screen) write(text string) { _, _ = io.WriteString(s.Out, text) }

// printable replaces control characters except the end of a line.
func printable(text string) string {
	clean := []rune(text)
	for i, r := range clean {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			clean[i] = '?'
		}
	}
	return string(clean)
}

// Emit writes one object of --json: kind says what value is.
func (s *Screen) Emit(command, kind string, value any) error {
	return s.emit(command, "", kind, value)
}

// EmitAsOf is Emit of a list, with what says how old it is.
func (s *Screen) EmitAsOf(command string, of api.Status, kind string, value any) error {
	return s.emit(command, fmt.Sprintf(`"leader":%s,"index":%d,`, quoted(of.Leader), of.Index), kind, value)
}

// emit writes more, which are fields of its own, before the value.
func (s *Screen) emit(command, more, kind string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("%s: encode the answer: %w", command, err)
	}
	var line bytes.Buffer
	fmt.Fprintf(&line, `{"version":%d,"command":%s,%s%s:%s}`+"\n", JSONVersion, quoted(command), more, quoted(kind), b)
	_, err = s.Out.Write(line.Bytes())
	return err
}

func quoted(text string) []byte {
	b, _ := json.Marshal(text) // a string always encodes
	return b
}
