package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxFile bounds the site file and maxLine a line of it, in bytes; maxDepth
// bounds its nesting. A real one has a few kilobytes and four levels; one with
// as many hosts and guests as there may be has 200 KiB.
const (
	maxFile  = 256 << 10
	maxLine  = 4096
	maxDepth = 16
)

// Error says what is wrong in a site file, and where.
type Error struct {
	File         string
	Line, Column int    // from 1; 0 when no place can be given
	Field        string // a YAML path such as $.hosts[0].lan_a
	Problem      string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("site file %s: %s", e.File, e.Problem)
	}
	if e.Field == "" {
		return fmt.Sprintf("site file %s:%d:%d: %s", e.File, e.Line, e.Column, e.Problem)
	}
	return fmt.Sprintf("site file %s:%d:%d: %s: %s", e.File, e.Line, e.Column, e.Field, e.Problem)
}

// Load reads and checks a site file of at most 256 KiB. The error is the first
// *Error in reading it, or joins every *Error that the checks found.
func Load(path string) (Site, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Site{}, fmt.Errorf("read the site file: %w: say --site FILE, or set BUMPLESS_SITE", err)
	}
	if err != nil {
		return Site{}, fmt.Errorf("read the site file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Site{}, fmt.Errorf("read the site file: %w", err)
	}
	return Parse(path, b)
}

// Parse is Load for a file that was read already; name is for errors.
func Parse(name string, b []byte) (Site, error) {
	if len(b) > maxFile {
		return Site{}, &Error{File: name, Problem: fmt.Sprintf("more than %d bytes", maxFile)}
	}
	b = bytes.TrimPrefix(b, byteOrderMark)
	if err := tooCostly(name, b); err != nil {
		return Site{}, err
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return Site{}, located(name, err)
	}
	if len(file.Docs) != 1 {
		return Site{}, &Error{File: name, Problem: fmt.Sprintf("%d YAML documents, want one", len(file.Docs))}
	}
	body := file.Docs[0].Body
	if _, comments := body.(*ast.CommentGroupNode); body == nil || comments {
		return Site{}, &Error{File: name, Problem: "it is empty"}
	}
	var s Site
	d := &document{file: name, at: map[string]*token.Position{}}
	if err := d.fill(reflect.ValueOf(&s).Elem(), body, "$"); err != nil {
		return Site{}, err
	}
	s.defaults(d.has)
	c := checker{document: d}
	c.site(s)
	if err := errors.Join(c.found...); err != nil {
		return Site{}, err
	}
	return s, nil
}

// byteOrderMark is what some editors put before UTF-8; YAML 1.2, 5.2, takes it.
var byteOrderMark = []byte("\xef\xbb\xbf")

// tooCostly refuses what would cost the parser much more than its size says:
// it recurses, and its stack must not be the sender's to choose; and its time
// grows with the square of a line's length.
func tooCostly(name string, b []byte) error {
	deep := fmt.Sprintf("nested more than %d levels deep", maxDepth)
	for i, line := range bytes.Split(b, []byte("\n")) {
		indent := len(line) - len(bytes.TrimLeft(line, " "))
		open := bytes.Count(line, []byte("[")) + bytes.Count(line, []byte("{"))
		dashes := bytes.Count(line, []byte("- ")) + bytes.Count(line, []byte("? "))
		if indent > 8*maxDepth || open > 64 || dashes > 64 {
			return &Error{File: name, Line: i + 1, Column: 1, Problem: deep}
		}
		if len(line) > maxLine {
			return &Error{File: name, Line: i + 1, Column: maxLine + 1, Problem: fmt.Sprintf("a line of %d bytes, at most %d", len(line), maxLine)}
		}
	}
	if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 4096 {
		return &Error{File: name, Line: 1, Column: 1, Problem: deep}
	}
	return nil
}

func located(name string, err error) error {
	e := &Error{File: name, Problem: err.Error()}
	var y yaml.Error
	if errors.As(err, &y) {
		e.Problem = y.GetMessage()
		if strings.Contains(e.Problem, "character '\t'") {
			e.Problem = "a tab: indent with spaces"
		}
		if t := y.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
		}
	}
	return e
}

// checker collects what is wrong.
type checker struct {
	*document
	found []error
}

// must notes a problem at the field, or at the nearest field above it.
func (c *checker) must(ok bool, field, format string, args ...any) {
	if ok {
		return
	}
	e := &Error{File: c.file, Field: field, Problem: fmt.Sprintf(format, args...)}
	e.Line, e.Column = c.place(field)
	c.found = append(c.found, e)
}
