package schema

import (
	"cmp"
	"encoding/hex"
	"errors"
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
)

var operators = [...]struct{ name, sql string }{
	Eq: {"equality", " = ?"}, Ne: {"$ne", " IS NOT ?"}, // unlike <>, true for a NULL
	Gt: {"$gt", " > ?"}, Gte: {"$gte", " >= ?"}, Lt: {"$lt", " < ?"}, Lte: {"$lte", " <= ?"},
	In: {"$in", ""}, Like: {"$like", " LIKE ?"},
}

// ParseOperator reads an operator that begins with a dollar sign.
func ParseOperator(s string) (Operator, bool) {
	for op := Ne; op <= Like; op++ {
		if operators[op].name == s {
			return op, true
		}
	}
	return 0, false
}

// Term is one condition. The value of In is a slice.
type Term struct {
	Column string
	Op     Operator
	Value  any
}

// Order is one key of an ORDER BY.
type Order struct {
	Column string
	Desc   bool
}

// where appends " WHERE …" to a statement. Terms are put into one order, so
// that a condition has one text, and is compiled once, however it was written.
func (t *Table) where(s *Statement, sql *strings.Builder, terms []Term) error {
	type placed struct {
		Term
		column int
	}
	at := make([]placed, len(terms))
	for i, term := range terms {
		col, err := t.column(term.Column)
		if err != nil {
			return err
		}
		at[i] = placed{term, col}
	}
	slices.SortStableFunc(at, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.column, b.column), cmp.Compare(a.Op, b.Op))
	})
	for i, term := range at {
		if i == 0 {
			sql.WriteString(" WHERE ")
		} else {
			sql.WriteString(" AND ")
		}
		c := &t.Columns[term.column]
		if err := c.condition(s, sql, term.Op, term.Value); err != nil {
			return t.fail(c.Name, err.Error())
		}
	}
	return nil
}

// condition appends one comparison. The error is a reason.
func (c *Column) condition(s *Statement, sql *strings.Builder, op Operator, v any) error {
	if !c.Type.allows(op) {
		return fmt.Errorf("%s is not for %s", operators[op].name, c.Type.describe())
	}
	sql.WriteString(c.quoted)
	if op == In {
		list, err := c.Type.list(v)
		sql.WriteString(c.Type.members())
		s.Args = append(s.Args, list)
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
			return fmt.Errorf("%s compares with nothing: nil is for equality and $ne", operators[op].name)
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
	case Gt, Gte, Lt, Lte:
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
func (t Type) list(v any) (Value, error) {
	rv := reflect.ValueOf(v)
	if _, bytes := v.([]byte); bytes || rv.Kind() != reflect.Slice && rv.Kind() != reflect.Array {
		return Value{}, fmt.Errorf("$in takes a list, not a %T", v)
	}
	b := []byte{'['}
	for i := range rv.Len() {
		val, err := t.convert(rv.Index(i).Interface())
		if err != nil {
			return Value{}, fmt.Errorf("element %d of $in: %w", i, err)
		}
		if val.Kind == KindNull {
			return Value{}, errors.New("$in takes no nil: NULL is in no list, ask for it with nil or IsNull")
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMember(b, val)
	}
	return text(string(append(b, ']'))), nil
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
