package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds the site file, in bytes, and maxDepth its nesting: a real one
// has a few kilobytes and four levels.
const (
	maxFile  = 1 << 20
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

// Load reads and checks a site file. The error joins every *Error that the
// checks found.
func Load(path string) (Site, error) {
	f, err := os.Open(path)
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
	if at := tooDeep(b); at > 0 {
		return Site{}, &Error{File: name, Line: at, Column: 1, Problem: fmt.Sprintf("nested more than %d levels deep", maxDepth)}
	}
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return Site{}, located(name, err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return Site{}, &Error{File: name, Problem: fmt.Sprintf("%d YAML documents, want one", len(file.Docs))}
	}
	var s Site
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict(), yaml.DisallowUnknownField()).Decode(&s); err != nil {
		return Site{}, located(name, err)
	}
	s.defaults()
	c := checker{file: name, body: file.Docs[0].Body}
	c.site(s)
	return s, errors.Join(c.found...)
}

// tooDeep returns the line at which brackets or indentation nest too deeply:
// the parser recurses, and its stack must not be the sender's to choose.
func tooDeep(b []byte) int {
	for i, line := range bytes.Split(b, []byte("\n")) {
		indent := len(line) - len(bytes.TrimLeft(line, " "))
		open := bytes.Count(line, []byte("[")) + bytes.Count(line, []byte("{"))
		dashes := bytes.Count(line, []byte("- ")) + bytes.Count(line, []byte("? "))
		if indent > 8*maxDepth || open > 64 || dashes > 64 {
			return i + 1
		}
	}
	if bytes.Count(b, []byte("["))+bytes.Count(b, []byte("{")) > 4096 {
		return 1
	}
	return 0
}

func located(name string, err error) error {
	e := &Error{File: name, Problem: err.Error()}
	var y yaml.Error
	if errors.As(err, &y) {
		e.Problem = y.GetMessage()
		if t := y.GetToken(); t != nil && t.Position != nil {
			e.Line, e.Column = t.Position.Line, t.Position.Column
		}
	}
	return e
}

// checker collects what is wrong.
type checker struct {
	file  string
	body  ast.Node
	found []error
}

// must notes a problem at the field, or at the nearest field above it.
func (c *checker) must(ok bool, field, format string, args ...any) {
	if ok {
		return
	}
	e := &Error{File: c.file, Field: field, Problem: fmt.Sprintf(format, args...)}
	for at := field; at != "" && e.Line == 0; at = parent(at) {
		if p, err := yaml.PathString(at); err == nil {
			if node, err := p.FilterNode(c.body); err == nil && node != nil {
				e.Line, e.Column = node.GetToken().Position.Line, node.GetToken().Position.Column
			}
		}
	}
	if e.Line == 0 {
		e.Line, e.Column = 1, 1
	}
	c.found = append(c.found, e)
}

func parent(field string) string {
	for i := len(field) - 1; i > 0; i-- {
		if field[i] == '.' || field[i] == '[' {
			return field[:i]
		}
	}
	return ""
}
