package console

import "strings"

// maxLine bounds a line on the serial console, in bytes.
const maxLine = 512

// Keys of a terminal.
const (
	ctrlC     = 0x03
	ctrlD     = 0x04
	bell      = 0x07
	backspace = 0x08
	ctrlU     = 0x15
	escape    = 0x1b
	rubout    = 0x7f
)

const eraseOne = "\b \b"

// stroke is what a byte from the port means to the session.
type stroke int

const (
	typed  stroke = iota // the line goes on
	enter                // the line is complete: see take
	cancel               // Ctrl-C
	finish               // Ctrl-D on an empty line
)

// editor keeps the line that is being typed. Its memory is bounded by maxLine.
//
// A line that lost a byte, because it was too long or because something was no
// text, is not carried out: "drain host-a --dry-run" with its end cut off is
// another order.
type editor struct {
	line    []byte
	damage  string // why the line must not be carried out
	afterCR bool   // the LF of CR LF does not end another line
	escapes escapeSkipper
}

// put takes one byte and returns what it means, and what to echo.
func (e *editor) put(b byte) (stroke, string) {
	afterCR := e.afterCR
	e.afterCR = b == '\r'
	if e.escapes.skip(b) {
		return typed, ""
	}
	switch {
	case b == '\n' && afterCR:
		return typed, ""
	case b == '\r' || b == '\n':
		return enter, "\r\n"
	case b == ctrlC:
		e.clear()
		return cancel, "^C\r\n"
	case b == ctrlD && len(e.line) == 0 && e.damage == "":
		return finish, "\r\n"
	case b == ctrlD:
		return typed, string(rune(bell))
	case b == backspace || b == rubout:
		return typed, e.erase(1)
	case b == ctrlU:
		e.damage = ""
		return typed, e.erase(len(e.line))
	}
	return typed, e.add(b)
}

func (e *editor) add(b byte) string {
	if b == '\t' {
		b = ' '
	}
	if b < ' ' || b > '~' {
		e.damage = "a byte that is no ASCII text"
		return string(rune(bell))
	}
	if len(e.line) == maxLine {
		e.damage = "more than 512 characters"
		return string(rune(bell))
	}
	e.line = append(e.line, b)
	return string(rune(b))
}

func (e *editor) erase(n int) string {
	n = min(n, len(e.line))
	e.line = e.line[:len(e.line)-n]
	return strings.Repeat(eraseOne, n)
}

func (e *editor) clear() { e.line, e.damage = e.line[:0], "" }

// take returns the complete line and begins a new one.
func (e *editor) take() (string, error) {
	line, damage := string(e.line), e.damage
	e.clear()
	if damage != "" {
		return "", misused("the line held %s and is not carried out", damage)
	}
	return line, nil
}

// escapeSkipper drops the sequences that arrow and function keys send: ESC,
// then '[' (ECMA-48, 5.4: parameters up to a final byte 0x40-0x7e) or one
// character.
type escapeSkipper struct {
	in  byte // 0, escape, '[' or 'O'
	len int
}

func (s *escapeSkipper) skip(b byte) bool {
	switch {
	case b == escape:
		s.in, s.len = escape, 0
		return true
	case s.in == 0:
		return false
	case b < ' ' || b > '~':
		s.in = 0 // not a sequence: a control character is never lost in one
		return false
	case s.in == escape && (b == '[' || b == 'O'):
		s.in = b
		return true
	case s.in == '[' && b < 0x40:
		// Sequences have a few parameters; what is longer is none.
		if s.len++; s.len > 16 {
			s.in = 0
		}
		return true
	}
	s.in = 0
	return true
}
