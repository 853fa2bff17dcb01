package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// csvReader reads the rows of a CSV file. Its errors name the line.
type csvReader struct {
	name   string
	r      *csv.Reader
	header []string
	line   int // where the last record began
}

// newCSVReader reads the header, which must name the columns.
func newCSVReader(name string, text io.Reader, delimiter rune) (*csvReader, error) {
	c := &csvReader{name: name, r: csv.NewReader(&exactReader{src: text, line: 1})}
	c.r.Comma = delimiter
	c.r.FieldsPerRecord = -1 // next has a better error
	header, err := c.record()
	if err == io.EOF {
		return nil, fmt.Errorf("%s is empty; its first line must name the columns", name)
	}
	if err != nil {
		return nil, err
	}
	c.header = header
	return c, c.checkHeader()
}

// checkHeader refuses names that a table's columns cannot have. SQLite ignores
// the case of ASCII letters when it compares them.
func (c *csvReader) checkHeader() error {
	seen := map[string]int{}
	for i, name := range c.header {
		switch before := seen[asciiLower(name)]; {
		case name == "":
			return c.errorf("column %d has no name; the first line must name every column", i+1)
		case strings.ContainsAny(name, "\x00\r"):
			return c.errorf("the name of column %d, %.40q, contains a control character; lines end with LF or CRLF, and the first line names the columns", i+1, name)
		case before > 0:
			return c.errorf("columns %d and %d have the same name, %q; rename one of them", before, i+1, name)
		}
		seen[asciiLower(name)] = i + 1
	}
	return nil
}

// next returns the next row, which has as many fields as the header, or io.EOF.
func (c *csvReader) next() ([]string, error) {
	row, err := c.record()
	if err != nil {
		return nil, err
	}
	if len(row) != len(c.header) {
		return nil, c.errorf("the row has %s, but the header names %s; fields are separated by %s: does one need quotes, or is --delimiter another?",
			plural(int64(len(row)), "field", "fields"), plural(int64(len(c.header)), "column", "columns"), delimiterName(c.r.Comma))
	}
	return row, nil
}

// skip passes over the next n rows.
func (c *csvReader) skip(ctx context.Context, n int64, progress func()) error {
	for i := range n {
		if i%1000 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress()
		}
		if _, err := c.next(); err == io.EOF {
			return fmt.Errorf("%s ends after %s, but %s of it were loaded", c.name, plural(i, "row", "rows"), count(n))
		} else if err != nil {
			return err
		}
	}
	return nil
}

func (c *csvReader) record() ([]string, error) {
	row, err := c.r.Read()
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return nil, fmt.Errorf("%s:%d: byte %d: %w; a field with a quote needs quotes around it and the quote doubled", c.name, parse.Line, parse.Column, parse.Err)
	}
	if err == io.EOF {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.name, err)
	}
	c.line, _ = c.r.FieldPos(0)
	for i, field := range row {
		if !utf8.ValidString(field) {
			return nil, c.errorf("field %d is not UTF-8; convert the file first, for example with iconv", i+1)
		}
	}
	return row, nil
}

func (c *csvReader) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: "+format, append([]any{c.name, c.line}, args...)...)
}

// asciiLower folds names as SQLite does.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// maxRecord is the size of the largest record accepted, in bytes: an unclosed
// quote must not pull a whole file into memory.
const maxRecord = 64 << 20

// exactReader sits between a file and encoding/csv, which turns CRLF into LF
// even inside quotes. There it passes on CR CR LF, so that CR LF remains.
type exactReader struct {
	src    io.Reader
	in     []byte // read, not yet passed on
	err    error  // comes after in
	buf    [32 << 10]byte
	quoted bool
	cr     bool // the last byte was a CR inside quotes
	line   int  // of the current record's first line
	lines  int  // in the current record
	size   int  // of the current record
}

func (e *exactReader) Read(p []byte) (n int, err error) {
	if len(e.in) == 0 && e.err == nil {
		var m int
		m, e.err = e.src.Read(e.buf[:])
		e.in = e.buf[:m]
	}
	for n < len(p) && len(e.in) > 0 {
		if k := ordinary(e.in); k > 0 {
			k = copy(p[n:], e.in[:k])
			n, e.in, e.size, e.cr = n+k, e.in[k:], e.size+k, false
			continue
		}
		b := e.in[0]
		if b == '\n' && e.cr {
			b, e.cr = '\r', false
		} else {
			e.in = e.in[1:]
			e.follow(b)
		}
		p[n] = b
		n++
	}
	if e.size > maxRecord {
		return n, fmt.Errorf("the row that begins on line %d is larger than %s; is a closing quote missing?", e.line, size(maxRecord))
	}
	if len(e.in) == 0 {
		return n, e.err
	}
	return n, nil
}

// ordinary counts the leading bytes of in that cannot change the state.
func ordinary(in []byte) int {
	for i, b := range in {
		if b <= '"' { // a quote, a line end, and a few rare bytes
			return i
		}
	}
	return len(in)
}

// follow tracks the position within a record.
func (e *exactReader) follow(b byte) {
	e.size++
	switch b {
	case '"':
		e.quoted = !e.quoted // a doubled quote does it twice
	case '\n':
		e.lines++
		if !e.quoted {
			e.line, e.lines, e.size = e.line+e.lines, 0, 0
		}
	}
	e.cr = b == '\r' && e.quoted
}
