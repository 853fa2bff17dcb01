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

// The operators. Eq and Ne take nil, which stands for NULL.
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
	Eq: {"equality", " = ?"}, Ne: {"$ne", " IS NOT ?"}, // unlike <>, true for a NULL
	Gt: {"$gt", " > ?"}, Gte: {"$gte", " >= ?"}, Lt: {"$lt", " < ?"}, Lte: {"$lte", " <= ?"},
	In: {"$in", ""}, Like: {"$like", " LIKE ?"},
	NotIn:   {"$nin", " IS NOT TRUE"}, // of $in: true for a NULL, as $ne is
	Between: {"$between", " BETWEEN ? AND ?"},
	Or:      {"$or", ""}, Not: {"$not", " IS NOT TRUE"},
}

// ParseOperator reads an operator on a column that begins with a dollar sign.
func ParseOperator(s string) (Operator, bool) {
	for op := Ne; op <= Between; op++ {
		if operators[op].name == s {
			return op, true
		}
	}
	return 0, false
}

// Term is one condition: on a column or, with Or and Not, on the row as a whole. The
// value of In and NotIn is a slice, that of Between one of two.
type Term struct {
	Column string
	Op     Operator
	Value  any
	Groups [][]Term // of Or and Not: none is empty, and all terms of one must hold
}

// maxTerms bounds the conditions of a statement: SQLite compiles no expression whose
// tree is deeper than 1000, and has 32766 parameters.
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

// count is how many conditions there are, with those in groups.
func count(terms []Term) int {
	n := len(terms)
	for _, term := range terms {
		for _, group := range term.Groups {
			n += count(group)
		}
	}
	return n
}

// all appends terms, all of which must hold. They are put into one order, so that a
// condition has one text, and is compiled once, however it was written.
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

// groups appends a term of groups.
func (t *Table) groups(s *Statement, sql *strings.Builder, term Term) error {
	sql.WriteByte('(')
	if len(term.Groups) == 0 {
		sql.WriteString("FALSE") // none of nothing holds
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

// condition appends one comparison. The error is a reason.
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

// operand is the value to compare with; a pattern is text even where the
// column's own values are not taken as text, which is JSON.
func (c *Column) operand(op Operator, v any) (Value, error) {
	if op == Like {
		return Text.convert(v)
	}
	return c.Type.convert(v)
}

// allows reports whether op means something for a type: booleans and JSON have
// no order, and a pattern needs text.
func (t Type) allows(op Operator) bool {
	switch op {
	case Gt, Gte, Lt, Lte, Between:
		return t != Boolean && t != JSON
	case Like:
		return t == Text || t == JSON
	}
	return true
}

// members is the SQL for "is one of". The list is one JSON parameter, so that
// a list of any length is the same statement and meets no limit on parameters.
// Text and blobs travel in hex, which carries any bytes.
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

// list is the parameter of members.
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

// elements are the values in the operand of an operator that takes a list.
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
