package driftdb

import (
	"github.com/driftdb/driftdb-go/internal/rows"
	"github.com/driftdb/driftdb-go/internal/schema"
)

// Query says which rows to find, and in which order. The zero value finds all rows.
//
// Without OrderBy, the order is undefined, and so is the order of rows that are equal in
// all columns of OrderBy: where it matters, end with Asc("id"), which is the order of
// creation. NULL is smaller than everything else.
type Query struct {
	Where   Where
	OrderBy []Order
	Limit   int // return at most this many rows; 0: no limit
	Offset  int // skip this many rows first
}

// Order is one column to order by, made by [Asc] or [Desc].
type Order struct {
	column string
	desc   bool
}

// Asc orders by a column, smallest first.
func Asc(column string) Order { return Order{column, false} }

// Desc orders by a column, largest first.
func Desc(column string) Order { return Order{column, true} }

// Set maps columns to their new values; nil is NULL. Other columns keep their values. Set
// cannot change id and createdAt; updatedAt is set to the current time unless it is
// given.
type Set map[string]any

func (q Query) internal() rows.Query {
	order := make([]schema.Order, len(q.OrderBy))
	for i, o := range q.OrderBy {
		order[i] = schema.Order{Column: o.column, Desc: o.desc}
	}
	return rows.Query{Where: q.Where.terms, OrderBy: order, Limit: q.Limit, Offset: q.Offset}
}
