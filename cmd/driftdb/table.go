package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go/internal/terminal"
)

// table prints rows: in aligned columns for people on a terminal, as tab-separated lines
// elsewhere, or as JSON lines.
type table struct {
	out           *terminal.Screen
	aligned, json bool

	columns []string
	widths  []int
	rows    [][]cell // read, and not printed yet
}

// cell is a value as it is printed in a column.
type cell struct {
	text  string
	right bool // aligned to the right, as numbers are
}

// alignedRows is how many rows are read before the first is printed, to find the widths of
// the columns. If a later row is wider, its column grows.
const alignedRows = 500

// begin begins a new result with these columns.
func (t *table) begin(columns []string) error {
	t.columns, t.widths = columns, make([]int, len(columns))
	if t.json {
		return nil
	}
	if !t.aligned {
		return t.separated(columns)
	}
	head := make([]cell, len(columns))
	for i, name := range columns {
		head[i].text = terminal.Escape(name)
	}
	t.rows = append(t.rows, head, nil) // nil: the rule below it
	return nil
}

// add adds a row.
func (t *table) add(values []any) error {
	switch {
	case t.json:
		return t.out.JSON(object{t.columns, values})
	case !t.aligned:
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = shown(v)
		}
		return t.separated(texts)
	}
	row := make([]cell, len(values))
	for i, v := range values {
		row[i].text = terminal.Escape(shown(v))
		switch v.(type) {
		case int64, float64:
			row[i].right = true
		}
	}
	if t.rows = append(t.rows, row); len(t.rows) >= alignedRows {
		return t.end()
	}
	return nil
}

// separated prints texts with tabs between them; those within a text are escaped.
func (t *table) separated(texts []string) error {
	for i, text := range texts {
		if i > 0 {
			if err := t.out.Printf("\t"); err != nil {
				return err
			}
		}
		if err := t.out.Printf("%s", text); err != nil {
			return err
		}
	}
	return t.out.Printf("\n")
}

// end prints the rows that are left.
func (t *table) end() error {
	for _, row := range t.rows {
		for i, c := range row {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(c.text))
		}
	}
	for _, row := range t.rows {
		if row == nil {
			for _, width := range t.widths {
				row = append(row, cell{text: strings.Repeat("-", width)})
			}
		}
		if err := t.out.Printf("%s\n", t.line(row)); err != nil {
			return err
		}
	}
	t.rows = nil
	return nil
}

// line puts the cells of a row into their columns.
func (t *table) line(row []cell) string {
	var b strings.Builder
	for i, c := range row {
		if i > 0 {
			b.WriteString("  ")
		}
		fill := strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(c.text))
		if c.right {
			b.WriteString(fill + c.text)
		} else {
			b.WriteString(c.text + fill)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// shown formats a value for people. Text is as it is, unless it would read as NULL or as a
// blob.
func shown(v any) string {
	text, ok := v.(string)
	switch {
	case !ok:
		return literal(v)
	case text == "NULL", strings.HasPrefix(text, "x'"), strings.HasPrefix(text, `"`):
		return strconv.Quote(text)
	}
	return text
}

// object is a row in JSON. Its members have the order of the columns; of columns with the
// same name, the later ones get a number, as they do in SQLite's subqueries.
type object struct {
	columns []string
	values  []any
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var members [][]byte
	var names []string
	for i, column := range o.columns {
		name := column
		for n := 1; slices.Contains(names, name); n++ {
			name = fmt.Sprintf("%s:%d", column, n)
		}
		names = append(names, name)
		member, err := json.Marshal(tagged(map[string]any{name: o.values[i]}))
		if err != nil {
			return nil, err
		}
		members = append(members, member[1:len(member)-1])
	}
	return slices.Concat([]byte("{"), bytes.Join(members, []byte(",")), []byte("}")), nil
}
