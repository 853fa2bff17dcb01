package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/terminal"
)

// table prints rows: in columns for people on a terminal, as tab-separated lines elsewhere,
// or as JSON lines.
type table struct {
	out    *terminal.Screen
	layout terminal.Layout
	json   bool

	columns []string
	text    *terminal.Table
	held    int  // rows that are not printed yet
	cut     bool // a value did not fit
}

// alignedRows is how many rows are read before the first is printed, to find the widths of
// the columns. If a later row is wider, its column grows.
const alignedRows = 500

// begin begins a new result with these columns.
func (t *table) begin(columns []string) error {
	t.columns = columns
	if t.json {
		return nil
	}
	var named []terminal.Column
	for _, name := range columns {
		named = append(named, terminal.Column{Name: name, Shrink: true})
	}
	t.text = t.out.Table(t.layout, named...)
	t.text.Rule = true
	return nil
}

// add adds a row.
func (t *table) add(values []any) error {
	if t.json {
		return t.out.JSON(object{t.columns, values})
	}
	row := make([]terminal.Cell, len(values))
	for i, v := range values {
		row[i].Text = shown(v)
		switch v.(type) {
		case int64, float64:
			row[i].Right = true
		case nil:
			row[i].Style = terminal.Dim
		}
	}
	t.text.Add(row...)
	if t.held++; t.held >= alignedRows {
		return t.end()
	}
	return nil
}

// end prints the rows that are left.
func (t *table) end() error {
	if t.text == nil {
		return nil
	}
	t.held = 0
	err := t.text.Flush()
	t.cut = t.text.Cut
	return err
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
