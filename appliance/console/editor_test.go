package console

import (
	"strings"
	"testing"
)

// typeKeys feeds keys and returns the lines that were completed, refused ones
// as "!reason", and the echo.
func typeKeys(keys string) (lines []string, echo string) {
	var e editor
	for _, b := range []byte(keys) {
		stroke, back := e.put(b)
		echo += back
		switch stroke {
		case enter:
			line, err := e.take()
			if err != nil {
				line = "!" + err.Error()
			}
			lines = append(lines, line)
		case cancel:
			lines = append(lines, "^C")
		case finish:
			lines = append(lines, "^D")
		case typed:
		}
	}
	return lines, echo
}

func TestKeysMakeLines(t *testing.T) {
	const noText = "!the line held a byte that is no ASCII text and is not carried out"
	for _, c := range []struct{ what, keys, want string }{
		{"CR", "status\r", "status"},
		{"LF", "status\n", "status"},
		{"CR LF is one end", "a\r\nb\r\n", "a|b"},
		{"two CR are two", "a\r\rb\r", "a||b"},
		{"backspace and rubout", "ab\bc\x7fd\r", "ad"},
		{"backspace at the start", "\b\x7fa\r", "a"},
		{"Ctrl-U", "drain host-a\x15guests\r", "guests"},
		{"Ctrl-C", "drain\x03guests\r", "^C|guests"},
		{"Ctrl-D on an empty line", "\x04", "^D"},
		{"Ctrl-D within a line", "a\x04b\r", "ab"},
		{"tab is a blank", "drain\thost-a\r", "drain host-a"},
		{"arrow keys", "a\x1b[A\x1b[1;5Cb\x1bOPc\r", "abc"},
		{"Enter after a lone escape", "a\x1b\rb\r", "a|b"},
		{"Ctrl-C within a sequence", "\x1b[1\x03a\r", "^C|a"},
		{"a NUL from a broken line", "drain\x00 host-a\r", noText},
		{"UTF-8", "move m\u00e4in\r", noText},
		{"damage is gone with Ctrl-U", "a\x00\x15b\r", "b"},
		{"damage ends with the line", "\xff\rstatus\r", noText + "|status"},
		{"the longest line", strings.Repeat("x", maxLine) + "\r", strings.Repeat("x", maxLine)},
		{"one byte more", strings.Repeat("x", maxLine+1) + "\rok\r", "!the line held more than 512 characters and is not carried out|ok"},
		{"a cut line is not healed by backspace", strings.Repeat("x", maxLine+1) + "\b\b\r", "!the line held more than 512 characters and is not carried out"},
	} {
		if got, _ := typeKeys(c.keys); strings.Join(got, "|") != c.want {
			t.Errorf("%s: %q = %q; want %q", c.what, c.keys, got, c.want)
		}
	}
}

func FuzzEditor(f *testing.F) {
	f.Add([]byte("move main1 host-b\r\n"))
	f.Add([]byte("\x1b[1;5Aab\b\x7f\x15\x03\x04\x00\xff\r"))
	f.Add([]byte(strings.Repeat("\x1b[", 40) + "drain 'a b\" \r"))
	f.Fuzz(func(t *testing.T, keys []byte) {
		lines, echo := typeKeys(string(keys))
		for _, line := range lines {
			if !strings.HasPrefix(line, "!") && len(line) > maxLine {
				t.Fatalf("a line of %d bytes; want at most %d", len(line), maxLine)
			}
			words, err := split(line)
			if err == nil && len(words) > maxLine {
				t.Fatalf("%d words", len(words))
			}
		}
		if strings.ContainsAny(echo, "\x1b\x00") {
			t.Fatalf("echo = %q; want no control sequence sent back", echo)
		}
	})
}
