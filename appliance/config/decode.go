package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// maxList bounds a list in the site file, whatever its kind.
const maxList = 1024

// document is a site file as it was written: what stands where.
type document struct {
	file string
	at   map[string]*token.Position // of each field that is there, by its path
}

// fill sets v to what the node says, and notes where each field stands. It does
// what the YAML library's decoder would do, but takes no value of another type
// (a fraction for an integer, a number for a name, nothing for a default), and
// no anchor or alias, which could make a small file a large one.
func (d *document) fill(v reflect.Value, n ast.Node, path string) *Error {
	switch n := n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode, *ast.TagNode:
		return d.wrong(n, path, "anchors, aliases and tags are not read: write the value out")
	case *ast.NullNode:
		return d.wrong(n, path, "no value: give one, or leave the field out")
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.fillStruct(v, n, path)
	case reflect.Slice:
		return d.fillList(v, n, path)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.fill(v.Elem(), n, path)
	}
	return d.fillScalar(v, n, path)
}

func (d *document) fillScalar(v reflect.Value, n ast.Node, path string) *Error {
	text := n.GetToken().Value
	switch v.Kind() {
	case reflect.Int:
		whole, err := strconv.Atoi(text)
		if _, is := n.(*ast.IntegerNode); !is || err != nil || strconv.Itoa(whole) != text {
			return d.wrong(n, path, "want a whole number in plain digits")
		}
		v.SetInt(int64(whole))
	case reflect.Bool:
		b, is := n.(*ast.BoolNode)
		if !is {
			return d.wrong(n, path, "want true or false")
		}
		v.SetBool(b.Value)
	case reflect.String:
		switch n := n.(type) {
		case *ast.StringNode:
			text = n.Value
		case *ast.LiteralNode:
			text = n.Value.Value
		default:
			return d.wrong(n, path, "want text; put it in quotes if it looks like something else")
		}
		if i := strings.IndexFunc(text, unprintable); i >= 0 {
			return d.wrong(n, path, fmt.Sprintf("%+q cannot be printed at byte %d", text, i))
		}
		v.SetString(text)
	}
	return nil
}

// unprintable characters could forge a log or cut a path short; U+FFFD also
// stands for bytes that are not UTF-8.
func unprintable(r rune) bool { return !strconv.IsPrint(r) || r == utf8.RuneError }

func (d *document) fillList(v reflect.Value, n ast.Node, path string) *Error {
	list, ok := n.(*ast.SequenceNode)
	if !ok {
		return d.wrong(n, path, "want a list")
	}
	if len(list.Values) > maxList {
		return d.wrong(n, path, fmt.Sprintf("a list of %d, at most %d", len(list.Values), maxList))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list.Values), len(list.Values)))
	for i, e := range list.Values {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.at[at] = e.GetToken().Position
		if err := d.fill(v.Index(i), e, at); err != nil {
			return err
		}
	}
	return nil
}

func (d *document) fillStruct(v reflect.Value, n ast.Node, path string) *Error {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		return d.wrong(n, path, "want fields")
	}
	fields := fieldsOf(v)
	for _, p := range pairs {
		key, ok := p.Key.(*ast.StringNode)
		if !ok {
			return d.wrongKey(p.Key, path, "want the name of a field; anchors and aliases are not read")
		}
		at := path + "." + key.Value
		field, known := fields[key.Value]
		if !known {
			return d.wrongKey(key, path, fmt.Sprintf("unknown field %q", key.Value))
		}
		if _, twice := d.at[at]; twice {
			return d.wrongKey(key, path, fmt.Sprintf("field %q is there twice", key.Value))
		}
		d.at[at] = placeOf(key, p.Value)
		if err := d.fill(field, p.Value, at); err != nil {
			return err
		}
	}
	return nil
}

// placeOf a field is that of a simple value; else that of its name, since a
// list or a group of fields begins elsewhere.
func placeOf(key *ast.StringNode, value ast.Node) *token.Position {
	if _, simple := value.(ast.ScalarNode); simple {
		return value.GetToken().Position
	}
	return key.GetToken().Position
}

// fieldsOf maps the names in the file to the struct's fields.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for i := range v.NumField() {
		fields[v.Type().Field(i).Tag.Get("yaml")] = v.Field(i)
	}
	return fields
}

// wrong is an error in the value of the field.
func (d *document) wrong(n ast.Node, path, problem string) *Error {
	at := d.at[path]
	if at == nil { // the whole document
		at = n.GetToken().Position
	}
	return &Error{File: d.file, Line: at.Line, Column: at.Column, Field: path, Problem: problem}
}

// wrongKey is an error in the name of a field of the group at path.
func (d *document) wrongKey(key ast.Node, path, problem string) *Error {
	at := key.GetToken().Position
	return &Error{File: d.file, Line: at.Line, Column: at.Column, Field: path, Problem: problem}
}

// has tells whether the field was written.
func (d *document) has(field string) bool { return d.at[field] != nil }

// place of the field, or of the nearest one above it that was written.
func (d *document) place(field string) (line, column int) {
	for ; field != ""; field = parent(field) {
		if p := d.at[field]; p != nil {
			return p.Line, p.Column
		}
	}
	return 1, 1
}

func parent(field string) string {
	for i := len(field) - 1; i > 0; i-- {
		if field[i] == '.' || field[i] == '[' {
			return field[:i]
		}
	}
	return ""
}
