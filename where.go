package driftdb

import (
	"cmp"
	"errors"
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
// Three keys stand beside the columns, and hold other Wheres: "$or" and "$and" take a
// []Where, "$not" a Where; see [Or] and [Not]. All entries must hold, these too:
//
//	driftdb.Where{"active": true, "$or": []driftdb.Where{{"age": nil}, {"age": driftdb.Lt(18)}}}
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
// are $gt $gte $lt $lte $ne $in $nin $between $like, as functions: [Gt] [Gte] [Lt]
// [Lte] [Ne] [In] [NotIn] [Between] [Like]; and $exists, which takes true, as
// [NotNull], or false, as [IsNull].
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

// NotIn holds for values that are none of vs: also for NULL, as [Ne] does. Without
// values it holds for everything.
func NotIn[V any](vs ...V) Op { return op(schema.NotIn, vs) }

// Between holds for values from low to high, both included; never for NULL.
func Between[V Ordered](low, high V) Op { return op(schema.Between, []V{low, high}) }

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
func (w Where) terms() ([]schema.Term, error) { return w.termsAt(0) }

// termsAt is terms for a Where that is in so many others.
func (w Where) termsAt(depth int) ([]schema.Term, error) {
	if w.isAll() {
		return nil, nil
	}
	terms := make([]schema.Term, 0, len(w))
	for key, condition := range w {
		var err error
		switch key {
		case or, and, not:
			terms, err = appendGroups(terms, key, condition, depth)
		default:
			terms, err = appendColumn(terms, key, condition)
		}
		if err != nil {
			return nil, err
		}
	}
	return terms, nil
}

// appendColumn appends the condition on a column.
func appendColumn(terms []schema.Term, column string, condition any) ([]schema.Term, error) {
	n := len(terms)
	var err error
	switch c := condition.(type) {
	case Op:
		terms = append(terms, c.terms...)
	case Ops:
		terms, err = c.appendTo(terms)
	case map[string]any:
		terms, err = Ops(c).appendTo(terms)
	case allRows:
		return nil, &schema.Error{Reason: "All stands alone: a condition was added to it"}
	default:
		terms = append(terms, schema.Term{Op: schema.Eq, Value: c})
	}
	if err == nil && len(terms) == n {
		err = errors.New("its condition has no operator")
	}
	if err != nil {
		return nil, &schema.Error{Column: column, Reason: err.Error()}
	}
	for i := range terms[n:] {
		terms[n+i].Column = column
	}
	return terms, nil
}

// appendTo appends a term without a column for each operator.
func (o Ops) appendTo(terms []schema.Term) ([]schema.Term, error) {
	for name, operand := range o {
		if name == "$exists" {
			exists, ok := operand.(bool)
			if !ok {
				return nil, fmt.Errorf("$exists takes true or false, not a %T", operand)
			}
			op := schema.Eq
			if exists {
				op = schema.Ne
			}
			terms = append(terms, schema.Term{Op: op})
			continue
		}
		op, ok := schema.ParseOperator(name)
		if !ok {
			return nil, fmt.Errorf("%q is no operator on a column: $gt, $gte, $lt, $lte, $ne, $in, $nin, $between, $like and $exists are", name)
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
