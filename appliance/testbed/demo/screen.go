package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
)

// screen shows the story's lines and, indented between them, what the serial
// consoles say. Its writes to a terminal are not checked: nobody is left to tell.
type screen struct {
	mu      sync.Mutex
	to      io.Writer
	midLine *consoleText // whose text the last line holds, nil: the line is empty
}

const indent = "    | "

func (s *screen) say(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLine()
	fmt.Fprintln(s.to, line)
}

func (s *screen) endLine() {
	if s.midLine != nil {
		fmt.Fprintln(s.to)
		s.midLine = nil
	}
}

// console returns where one console's text goes.
func (s *screen) console() io.Writer { return &consoleText{screen: s} }

// consoleText keeps the line that was begun, so that a line which the story
// interrupted is shown whole again.
type consoleText struct {
	screen *screen
	line   []byte
}

func (c *consoleText) Write(b []byte) (int, error) {
	c.screen.mu.Lock()
	defer c.screen.mu.Unlock()
	for _, part := range bytes.SplitAfter(bytes.ReplaceAll(b, []byte("\r"), nil), []byte("\n")) {
		if len(part) > 0 {
			c.put(part)
		}
	}
	return len(b), nil
}

func (c *consoleText) put(part []byte) {
	s := c.screen
	whole := bytes.HasSuffix(part, []byte("\n"))
	if s.midLine != c {
		s.endLine()
		fmt.Fprintf(s.to, "%s%s", indent, c.line)
	}
	fmt.Fprintf(s.to, "%s", part)
	c.line = append(c.line, part...)
	s.midLine = c
	if whole {
		c.line, s.midLine = nil, nil
	}
}
