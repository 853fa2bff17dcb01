package driftdb

import (
	"cmp"
	"time"

	"github.com/driftdb/driftdb-go/internal/schema"
)

// Where selects rows. Each entry is a column with a condition, and all entries must hold.
// A condition is a plain value (equality), nil (IS NULL), an [Op], or [Ops]. A
// map[string]any counts as Ops, so you can read a Where from JSON:
//
//	driftdb.Where{"age": driftdb.Gte(18), "deletedAt": nil}
//	driftdb.Where{"age": driftdb.Ops{"$gte": 18, "$lt": 65}}
//
// Three keys that are not columns hold other Wheres: "$or" and "$and" take a []Where,
// "$not" a Where; see [Or] and [Not]. They must hold together with all other entries:
//
//	driftdb.Where{"active": true, "$or": []driftdb.Where{{"age": nil}, {"age": driftdb.Lt(18)}}}
//
// In reads, where it does no harm, an empty Where matches every row. Update and Delete
// require [All] for that.
//
// Anything that does not fit the table is a [*SchemaError], before any SQL runs: an
// unknown column, an unknown operator, a value of the wrong type, an order on booleans. A
// number must stand for exactly one value of the column: 18.0 is 18 on an INTEGER column;
// 18.5 is an error, and so is a float64 beyond 2^53, because JSON may have lost its last
// digits (decode with UseNumber). Booleans may also be 0 and 1, and times Unix
// milliseconds. A JSON column is compared as the text that encoding/json produces; it has
// no order.
type Where map[string]any

// All is the only Where that makes [Repository.Update] and [Repository.Delete] change
// every row. Use it alone: adding a condition to it is an error.
var All = Where{everything: allRows{}}

// everything is the key in All. No column has an empty name.
const everything = ""

// allRows is the value in All. Code outside this package cannot create one.
type allRows struct{}

// Ops maps operators to their operands; all of them must hold. The operators are $gt $gte
// $lt $lte $ne $in $nin $between $like, which correspond to the functions [Gt] [Gte] [Lt]
// [Lte] [Ne] [In] [NotIn] [Between] [Like], and $exists, which takes true for [NotNull]
// or false for [IsNull].
type Ops map[string]any

// Op is a condition on one column.
type Op struct{ terms []schema.Term } // without a column

// Ordered is the constraint for values that have an order. Text is compared byte by byte.
type Ordered interface {
	cmp.Ordered | ~[]byte | time.Time
}

// Gt matches values greater than v, but never NULL.
func Gt[V Ordered](v V) Op { return op(schema.Gt, v) }

// Gte matches values greater than or equal to v, but never NULL.
func Gte[V Ordered](v V) Op { return op(schema.Gte, v) }

// Lt matches values less than v, but never NULL.
func Lt[V Ordered](v V) Op { return op(schema.Lt, v) }

// Lte matches values less than or equal to v, but never NULL.
func Lte[V Ordered](v V) Op { return op(schema.Lte, v) }

// Ne matches whatever equality with v does not, including NULL unless v is nil.
func Ne(v any) Op { return op(schema.Ne, v) }

// In matches values that are in vs, but never NULL. vs can have any length; if it is
// empty, In matches nothing.
func In[V any](vs ...V) Op { return op(schema.In, vs) }

// NotIn matches values that are not in vs, including NULL, as [Ne] does. If vs is empty,
// it matches everything.
func NotIn[V any](vs ...V) Op { return op(schema.NotIn, vs) }

// Between matches values from low to high, both included, but never NULL.
func Between[V Ordered](low, high V) Op { return op(schema.Between, []V{low, high}) }

// Like matches text against a SQL pattern: % stands for any text, _ for any character. As
// always in SQLite, the case of ASCII letters is ignored, and that of other letters is
// not.
func Like(pattern string) Op { return op(schema.Like, pattern) }

// IsNull matches NULL.
func IsNull() Op { return op(schema.Eq, nil) }

// NotNull matches everything except NULL.
func NotNull() Op { return op(schema.Ne, nil) }

// And matches where all of ops match.
func And(ops ...Op) Op {
	var all Op
	for _, o := range ops {
		all.terms = append(all.terms, o.terms...)
	}
	return all
}

func op(o schema.Operator, v any) Op {
	return Op{[]schema.Term{{Op: o, Value: v}}}
}

// Or is a Where that matches where at least one of ws does. Without any, it matches
// nothing, like [In]. An empty Where in ws would match everything, and is a
// [*SchemaError]. To require several of them, list them in "$and":
//
//	driftdb.Where{"$and": []driftdb.Where{driftdb.Or(a, b), driftdb.Or(c, d)}}
func Or(ws ...Where) Where { return Where{schema.OrKey: ws} }

// Not is a Where that matches exactly the rows that w does not, including those where w
// compares with a NULL. Every row matches either w or Not(w).
func Not(w Where) Where { return Where{schema.NotKey: w} }

// terms parses a Where.
func (w Where) terms() ([]schema.Term, error) { return schema.Where(w).Terms(known) }

// narrow is terms for statements that change rows: an empty Where is an error.
func (w Where) narrow() ([]schema.Term, error) {
	if len(w) == 0 {
		return nil, ErrEmptyWhere
	}
	return w.terms()
}

// known converts v to a type of package schema if it has one of this package's types.
func known(v any) any {
	switch v := v.(type) {
	case Where:
		return schema.Where(v)
	case []Where:
		list := make([]schema.Where, len(v))
		for i, w := range v {
			list[i] = schema.Where(w)
		}
		return list
	case Op:
		return v.terms
	case Ops:
		return schema.Ops(v)
	case allRows:
		return schema.All{}
	}
	return v
}
