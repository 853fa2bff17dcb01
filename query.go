package driftdb

import "github.com/driftdb/driftdb-go/internal/schema"

// Query says which rows to find, in which order. The zero value is all rows.
//
// Without OrderBy the order is not promised, nor is it among rows that OrderBy
// holds for equal: end with Asc("id"), which is the order of creation, where
// it matters. NULL comes before everything else.
type Query struct {
	Where   Where
	OrderBy []Order
	Limit   int // at most so many rows; 0 is no limit
	Offset  int // skip so many rows first
}

// Order is one key of an order, made by [Asc] or [Desc].
type Order struct {
	column string
	desc   bool
}

// Asc orders by a column, smallest first.
func Asc(column string) Order { return Order{column, false} }

// Desc orders by a column, greatest first.
func Desc(column string) Order { return Order{column, true} }

// Set names columns and their new values; nil is NULL. Columns that it does
// not name keep theirs. It cannot set id and createdAt; updatedAt is set to
// now unless it is given.
type Set map[string]any

// statement is the query on a table.
func (q Query) statement(t *schema.Table) (schema.Statement, error) {
	terms, err := q.Where.terms()
	if err != nil {
		return schema.Statement{}, err
	}
	order := make([]schema.Order, len(q.OrderBy))
	for i, o := range q.OrderBy {
		order[i] = schema.Order{Column: o.column, Desc: o.desc}
	}
	return t.Select(schema.Query{Terms: terms, OrderBy: order, Limit: q.Limit, Offset: q.Offset})
}
