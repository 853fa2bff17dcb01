package schema

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Operator compares a column with a value.
type Operator int

// The operators. Eq and Ne accept nil, which means NULL.
const (
	Eq Operator = iota + 1
	Ne
	Gt
	Gte
	Lt
	Lte
	In
	Like
	NotIn
	Between

	Or  // one of Groups holds
	Not // the one group does not hold
)

var operators = [...]struct{ name, sql string }{
	Eq: {"equality", " = ?"}, Ne: {"$ne", " IS NOT ?"}, // unlike <>, IS NOT is true for a NULL
	Gt: {"$gt", " > ?"}, Gte: {"$gte", " >= ?"}, Lt: {"$lt", " < ?"}, Lte: {"$lte", " <= ?"},
	In: {"$in", ""}, Like: {"$like", " LIKE ?"},
	NotIn:   {"$nin", " IS NOT TRUE"}, // applied to $in: true for a NULL, like $ne
	Between: {"$between", " BETWEEN ? AND ?"},
	Or:      {"$or", ""}, Not: {"$not", " IS NOT TRUE"},
}

// ParseOperator parses a column's operator, which begins with a dollar sign.
func ParseOperator(s string) (Operator, bool) {
	for op := Ne; op <= Between; op++ {
		if operators[op].name == s {
			return op, true
		}
	}
	return 0, false
}

// Term is one condition: on a column or, with Or and Not, on the row as a whole. The value
// of In and NotIn is a slice; the value of Between is a slice of two.
type Term struct {
	Column string
	Op     Operator
	Value  any
	Groups [][]Term // for Or and Not: no group is empty, and all terms of a group must hold
}

// maxTerms bounds the conditions of a statement: SQLite compiles no expression tree deeper
// than 1000, and allows 32766 parameters.
const maxTerms = 500

// Order is one key of an ORDER BY.
type Order struct {
	Column string
	Desc   bool
}

// where appends " WHERE …" to a statement.
func (t *Table) where(s *Statement, sql *strings.Builder, terms []Term) error {
	if len(terms) == 0 {
		return nil
	}
	if n := count(terms); n > maxTerms {
		return t.fail("", fmt.Sprintf("the Where has %d conditions, more than %d; a list in $in may have any length", n, maxTerms))
	}
	sql.WriteString(" WHERE ")
	return t.all(s, sql, terms)
}

// count returns the number of conditions, including those in groups.
func count(terms []Term) int {
	n := len(terms)
	for _, term := range terms {
		for _, group := range term.Groups {
			n += count(group)
		}
	}
	return n
}

// all appends terms, all of which must hold. It sorts them, so that a condition always has
// the same text and is compiled once, however it was written.
func (t *Table) all(s *Statement, sql *strings.Builder, terms []Term) error {
	type placed struct {
		Term
		column int
	}
	at := make([]placed, len(terms))
	for i, term := range terms {
		at[i] = placed{term, len(t.Columns)}
		if term.Op == Or || term.Op == Not {
			continue
		}
		var err error
		if at[i].column, err = t.column(term.Column); err != nil {
			return err
		}
	}
	slices.SortStableFunc(at, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.column, b.column), cmp.Compare(a.Op, b.Op))
	})
	for i, term := range at {
		if i > 0 {
			sql.WriteString(" AND ")
		}
		if term.column == len(t.Columns) {
			if err := t.groups(s, sql, term.Term); err != nil {
				return err
			}
			continue
		}
		c := &t.Columns[term.column]
		if err := c.condition(s, sql, term.Op, term.Value); err != nil {
			return t.fail(c.Name, err.Error())
		}
	}
	return nil
}

// groups appends an Or or Not term.
func (t *Table) groups(s *Statement, sql *strings.Builder, term Term) error {
	sql.WriteByte('(')
	if len(term.Groups) == 0 {
		sql.WriteString("FALSE") // an empty list of alternatives never holds
	}
	for i, group := range term.Groups {
		if i > 0 {
			sql.WriteString(" OR ")
		}
		if err := t.all(s, sql, group); err != nil {
			return err
		}
	}
	sql.WriteByte(')')
	sql.WriteString(operators[term.Op].sql)
	return nil
}

// condition appends one comparison. The error is a reason, without table or column.
func (c *Column) condition(s *Statement, sql *strings.Builder, op Operator, v any) error {
	if !c.Type.allows(op) {
		return fmt.Errorf("%s does not apply to %s", operators[op].name, c.Type.describe())
	}
	sql.WriteString(c.quoted)
	switch op {
	case In, NotIn:
		list, err := c.Type.list(op, v)
		sql.WriteString(c.Type.members() + operators[op].sql)
		s.Args = append(s.Args, list)
		return err
	case Between:
		ends, err := c.Type.elements(op, v)
		if err == nil && len(ends) != 2 {
			err = fmt.Errorf("$between takes a list of two values, the least and the greatest, not %d", len(ends))
		}
		sql.WriteString(operators[op].sql)
		s.Args = append(s.Args, ends...)
		return err
	}
	val, err := c.operand(op, v)
	if err != nil {
		return err
	}
	if val.Kind == KindNull {
		switch op {
		case Eq:
			sql.WriteString(" IS NULL")
		case Ne:
			sql.WriteString(" IS NOT NULL")
		default:
			return fmt.Errorf("%s cannot compare with nil: only equality and $ne can", operators[op].name)
		}
		return nil
	}
	sql.WriteString(operators[op].sql)
	s.Args = append(s.Args, val)
	return nil
}

// operand returns the value to compare with. A pattern is plain text, even for a JSON
// column, whose own values are converted differently.
func (c *Column) operand(op Operator, v any) (Value, error) {
	if op == Like {
		return Text.convert(v)
	}
	return c.Type.convert(v)
}

// allows reports whether op makes sense for a type: booleans and JSON have no order, and a
// pattern needs text.
func (t Type) allows(op Operator) bool {
	switch op {
	case Gt, Gte, Lt, Lte, Between:
		return t != Boolean && t != JSON
	case Like:
		return t == Text || t == JSON
	}
	return true
}

// members returns the SQL for "is one of". The list is a single JSON parameter, so a list
// of any length has the same statement and never meets the limit on parameters. Text and
// blobs are encoded in hex, which can hold any bytes.
func (t Type) members() string {
	switch t {
	case Text, JSON:
		return " IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))"
	case Blob:
		return " IN (SELECT unhex(value) FROM json_each(?))"
	default:
		return " IN (SELECT value FROM json_each(?))"
	}
}

// list returns the parameter for members.
func (t Type) list(op Operator, v any) (Value, error) {
	values, err := t.elements(op, v)
	if err != nil {
		return Value{}, err
	}
	b := []byte{'['}
	for i, val := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMember(b, val)
	}
	return text(string(append(b, ']'))), nil
}

// elements returns the values in the operand of an operator that takes a list.
func (t Type) elements(op Operator, v any) ([]Value, error) {
	name, rv := operators[op].name, reflect.ValueOf(v)
	if _, bytes := v.([]byte); bytes || rv.Kind() != reflect.Slice && rv.Kind() != reflect.Array {
		return nil, fmt.Errorf("%s takes a list, not a %T", name, v)
	}
	values := make([]Value, rv.Len())
	for i := range values {
		val, err := t.convert(rv.Index(i).Interface())
		if err != nil {
			return nil, fmt.Errorf("element %d of %s: %w", i, name, err)
		}
		if val.Kind == KindNull {
			return nil, fmt.Errorf("%s takes no nil: no list contains NULL; match it with nil or IsNull", name)
		}
		values[i] = val
	}
	return values, nil
}

func appendMember(b []byte, v Value) []byte {
	switch v.Kind {
	case KindInteger:
		return strconv.AppendInt(b, v.Int, 10)
	case KindReal:
		if math.IsInf(v.Real, 0) {
			return append(b, realLiteral(v.Real)...)
		}
		return strconv.AppendFloat(b, v.Real, 'e', -1, 64)
	case KindText:
		b = append(b, '"')
		b = hex.AppendEncode(b, []byte(v.Text))
		return append(b, '"')
	default:
		b = append(b, '"')
		b = hex.AppendEncode(b, v.Blob)
		return append(b, '"')
	}
}
