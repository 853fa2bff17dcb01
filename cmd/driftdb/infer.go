package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/terminal"
)

// columnType is a type that a column of a new table can get.
type columnType string

const (
	typeText    columnType = "TEXT"
	typeInteger columnType = "INTEGER"
	typeReal    columnType = "REAL"
)

// accepts reports whether a column of this type gives a field back as it was, but for the
// form of a decimal number.
func (t columnType) accepts(field string) bool {
	switch t {
	case typeInteger:
		return isInteger(field)
	case typeReal:
		_, ok := decimals(field)
		return ok || isInteger(field) && len(digits(field)) <= exactDigits
	}
	return true
}

// exactDigits is how many digits of a number a REAL keeps in any case.
const exactDigits = 15

// isInteger reports whether a field is an integer as SQLite prints it, of 64 bits at most.
// So leading zeros, a plus and -0 stay text: they are telephone numbers and codes.
func isInteger(field string) bool {
	n, err := strconv.ParseInt(field, 10, 64)
	return err == nil && strconv.FormatInt(n, 10) == field
}

// decimals reports whether a field is a decimal number that a REAL can hold, and returns
// how many digits it has after the point: less than zero if they are as SQLite prints the
// number.
func decimals(field string) (after int, ok bool) {
	mantissa, _, scientific := strings.Cut(strings.ToLower(field), "e")
	whole, fraction, point := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	switch {
	case !point && !scientific, point && fraction == "":
		return 0, false
	case whole == "", len(whole) > 1 && whole[0] == '0', strings.Trim(whole+fraction, "0123456789") != "":
		return 0, false
	case len(digits(mantissa)) > exactDigits:
		return 0, false
	}
	f, err := strconv.ParseFloat(field, 64)
	if err != nil || f == 0 && (digits(mantissa) != "" || field[0] == '-') { // out of range
		return 0, false
	}
	if scientific || fraction == "0" || !strings.HasSuffix(fraction, "0") {
		return -len(fraction), true
	}
	return len(fraction), true
}

// digits are those of a number from the first that is not zero.
func digits(number string) string {
	return strings.TrimLeft(strings.NewReplacer("-", "", ".", "").Replace(number), "0")
}

// inference finds the type of a column from its fields.
type inference struct {
	text, integer, real bool // there are such fields
	long                bool // there is an integer with more digits than a REAL keeps
	padded              bool // a number ends in zeros after the point, as in 1.50
	after               int  // digits after the point
	uneven              bool // not the same number of them everywhere
	empty               int64
	firstEmpty          int // a line
}

func (c *inference) add(field string, line int) {
	if field == "" {
		if c.empty++; c.empty == 1 {
			c.firstEmpty = line
		}
		return
	}
	if c.text {
		return
	}
	if isInteger(field) {
		c.integer, c.long = true, c.long || len(digits(field)) > exactDigits
		return
	}
	n, ok := decimals(field)
	if !ok {
		c.text = true
		return
	}
	c.padded = c.padded || n > 0
	n = max(n, -n)
	c.uneven = c.uneven || c.real && n != c.after
	c.real, c.after = true, n
}

// number is the type of the fields that are not empty. Numbers with zeros at the end are
// prices if all have as many decimals; otherwise they may be versions, where 1.10 is not
// 1.1.
func (c *inference) number() columnType {
	switch {
	case c.text, !c.integer && !c.real, c.real && c.long, c.padded && c.uneven:
		return typeText
	case c.real:
		return typeReal
	}
	return typeInteger
}

// result is the column's type. An empty field is no number: it is a text, unless --null
// makes it a NULL.
func (c *inference) result() columnType {
	if c.empty > 0 {
		return typeText
	}
	return c.number()
}

// inferTypes adds rows to the types of their columns.
func inferTypes(columns []inference, batch []record, null *string) {
	for _, r := range batch {
		for i, f := range r.fields {
			if null == nil || f != *null {
				columns[i].add(f, r.line)
			}
		}
	}
}

// inferFile finds the types of the columns of a file from all of its rows.
func (l *loader) inferFile(ctx context.Context, csv *csvReader, progress func()) error {
	columns := make([]inference, len(csv.header))
	for n := 0; ; n++ {
		if n%1000 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress()
		}
		fields, err := csv.next()
		if err == io.EOF {
			l.setTypes(columns)
			return nil
		}
		if err != nil {
			return err
		}
		inferTypes(columns, []record{{fields, csv.line}}, l.null)
	}
}

// setTypes takes over what was inferred.
func (l *loader) setTypes(columns []inference) {
	l.types = make([]columnType, len(columns))
	for i := range columns {
		l.types[i] = columns[i].result()
	}
	l.inferred = columns
}

// sayTypes says which types the columns of a new table have, and what has prevented more.
func sayTypes(s *terminal.Screen, l *loader) {
	parts := make([]string, len(l.types))
	for i, t := range l.types {
		parts[i] = l.csv.header[i] + " " + string(t)
	}
	s.Printf("types: %s\n", strings.Join(parts, ", "))
	for i := range l.inferred {
		if c := &l.inferred[i]; c.empty > 0 && c.number() != typeText {
			s.Printf("column %s would be %s, but has %s, the first on line %d: with --null '' they are NULL\n",
				l.csv.header[i], c.number(), plural(c.empty, "empty field", "empty fields"), c.firstEmpty)
		}
	}
}

// checkTypes returns an error for the first row that does not fit types which were inferred
// from the rows before it.
func (l *loader) checkTypes(batch []record) (fit []record, err error) {
	for n, r := range batch {
		for i, f := range r.fields {
			if (l.null == nil || f != *l.null) && !l.types[i].accepts(f) {
				return batch[:n], hinted{
					fmt.Errorf("%s:%d: column %s is %s, as its first %s were, but here it is %.40q", l.csv.name, r.line, l.csv.header[i], l.types[i], plural(l.sampled, "row", "rows"), f),
					"use --types text, or import a file instead of a pipe: its types come from all of its rows",
				}
			}
		}
	}
	return batch, nil
}
