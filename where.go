package driftdb

import (
	"cmp"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/schema"
)

// Where selects rows: every entry, a column with a condition on it, must hold.
// The condition is a plain value (equality), nil (IS NULL), an [Op], or [Ops].
// A map[string]any counts as Ops, so that a Where can be read from JSON:
//
//	driftdb.Where{"age": driftdb.Gte(18), "deletedAt": nil}
//	driftdb.Where{"age": driftdb.Ops{"$gte": 18, "$lt": 65}}
//
// An empty Where matches every row where that does no harm, in reads; Update
// and Delete want [All] for it.
//
// What does not fit the table is a [*SchemaError], before any SQL runs: a
// column that it lacks, an unknown operator, a value of the wrong type, an
// order on booleans. Numbers must mean exactly one value of the column: 18.0
// is 18 on an INTEGER column, 18.5 is an error, and so is a float64 beyond
// 2^53, whose last digits JSON may have lost (decode with UseNumber).
// Booleans may also be 0 and 1, times Unix milliseconds. A JSON column is
// compared as the text that encoding/json makes; it has no order.
type Where map[string]any

// All is the only Where with which [Repository.Update] and [Repository.Delete]
// touch every row. It stands alone: added to, it is an error.
var All = Where{everything: allRows{}}

// everything is the key of All; no column has an empty name.
const everything = ""

// allRows is the value of All. Nobody else can make one.
type allRows struct{}

// Ops maps operators to their operands; all of them must hold. The operators
// are $gt $gte $lt $lte $ne $in $like, as functions: [Gt] [Gte] [Lt] [Lte]
// [Ne] [In] [Like].
type Ops map[string]any

// Op is a condition on one column.
type Op struct{ terms []schema.Term } // without a column

// Ordered is what columns have an order for. Text is compared bytewise.
type Ordered interface {
	cmp.Ordered | ~[]byte | time.Time
}

// Gt holds for values greater than v; never for NULL.
func Gt[V Ordered](v V) Op { return op(schema.Gt, v) }

// Gte holds for values greater than or equal to v; never for NULL.
func Gte[V Ordered](v V) Op { return op(schema.Gte, v) }

// Lt holds for values less than v; never for NULL.
func Lt[V Ordered](v V) Op { return op(schema.Lt, v) }

// Lte holds for values less than or equal to v; never for NULL.
func Lte[V Ordered](v V) Op { return op(schema.Lte, v) }

// Ne holds where equality with v does not: also for NULL, unless v is nil.
func Ne(v any) Op { return op(schema.Ne, v) }

// In holds for values that are one of vs, of which there may be any number;
// never for NULL. Without values it holds for nothing.
func In[V any](vs ...V) Op { return op(schema.In, vs) }

// Like holds for text that matches an SQL pattern: % stands for any text, _
// for any character. As always in SQLite, the case of ASCII letters is
// ignored, and that of others is not.
func Like(pattern string) Op { return op(schema.Like, pattern) }

// IsNull holds for NULL.
func IsNull() Op { return op(schema.Eq, nil) }

// NotNull holds for everything but NULL.
func NotNull() Op { return op(schema.Ne, nil) }

// And holds where all of ops do.
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

// terms takes a Where apart.
func (w Where) terms() ([]schema.Term, error) {
	if w.isAll() {
		return nil, nil
	}
	terms := make([]schema.Term, 0, len(w))
	for column, condition := range w {
		n := len(terms)
		switch c := condition.(type) {
		case Op:
			terms = append(terms, c.terms...)
		case Ops:
			var err error
			if terms, err = c.appendTo(terms); err != nil {
				return nil, &schema.Error{Column: column, Reason: err.Error()}
			}
		case map[string]any:
			var err error
			if terms, err = Ops(c).appendTo(terms); err != nil {
				return nil, &schema.Error{Column: column, Reason: err.Error()}
			}
		case allRows:
			return nil, &schema.Error{Reason: "All stands alone: a condition was added to it"}
		default:
			terms = append(terms, schema.Term{Op: schema.Eq, Value: c})
		}
		if len(terms) == n {
			return nil, &schema.Error{Column: column, Reason: "its condition has no operator"}
		}
		for i := range terms[n:] {
			terms[n+i].Column = column
		}
	}
	return terms, nil
}

// appendTo appends a term without a column for each operator.
func (o Ops) appendTo(terms []schema.Term) ([]schema.Term, error) {
	for name, operand := range o {
		op, ok := schema.ParseOperator(name)
		if !ok {
			return nil, fmt.Errorf("%q is no operator: $gt, $gte, $lt, $lte, $ne, $in and $like are", name)
		}
		terms = append(terms, schema.Term{Op: op, Value: operand})
	}
	return terms, nil
}

// isAll reports whether w is All, or a copy of it.
func (w Where) isAll() bool {
	_, ok := w[everything].(allRows)
	return ok && len(w) == 1
}

// narrow is terms for statements that change rows.
func (w Where) narrow() ([]schema.Term, error) {
	if len(w) == 0 {
		return nil, ErrEmptyWhere
	}
	return w.terms()
}
