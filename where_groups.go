package driftdb

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/schema"
)

// The keys of a Where that stand for no column.
const (
	or  = "$or"
	and = "$and"
	not = "$not"
)

// Or is a Where that matches where at least one of ws does. Without any, it matches
// nothing, like [In]. An empty Where in ws would match everything, and is a
// [*SchemaError]. To require several of them, list them in "$and":
//
//	driftdb.Where{"$and": []driftdb.Where{driftdb.Or(a, b), driftdb.Or(c, d)}}
func Or(ws ...Where) Where { return Where{or: ws} }

// Not is a Where that matches exactly the rows that w does not, including those where w
// compares with a NULL. Every row matches either w or Not(w).
func Not(w Where) Where { return Where{not: w} }

// maxNesting is how deep a Where may lie in others: SQLite compiles no expression that
// is nested without end.
const maxNesting = 32

// appendGroups appends what key has as its condition.
func appendGroups(terms []schema.Term, key string, condition any, depth int) ([]schema.Term, error) {
	if key == not {
		w, ok := asWhere(condition)
		if !ok {
			reason := fmt.Sprintf("$not takes a Where, not a %T; for a column it is {\"$not\": {\"age\": …}}", condition)
			return nil, &schema.Error{Reason: reason}
		}
		group, err := w.group(key, depth)
		return append(terms, schema.Term{Op: schema.Not, Groups: [][]schema.Term{group}}), err
	}
	list, ok := asWheres(condition)
	if !ok {
		return nil, &schema.Error{Reason: fmt.Sprintf("%s takes a list of Wheres, not a %T", key, condition)}
	}
	if key == and && len(list) == 0 {
		return nil, &schema.Error{Reason: "$and has no Where, so it would hold for every row"}
	}
	groups := make([][]schema.Term, len(list))
	for i, w := range list {
		var err error
		if groups[i], err = w.group(key, depth); err != nil {
			return nil, err
		}
	}
	if key == or {
		return append(terms, schema.Term{Op: schema.Or, Groups: groups}), nil
	}
	for _, group := range groups { // all entries must hold anyway
		terms = append(terms, group...)
	}
	return terms, nil
}

// group is what a Where within key, which is at depth, asks for. An empty one would hold for every row,
// which nobody can have meant there.
func (w Where) group(key string, depth int) ([]schema.Term, error) {
	if len(w) == 0 {
		return nil, &schema.Error{Reason: key + " has an empty Where, which would hold for every row"}
	}
	if w.isAll() {
		return nil, &schema.Error{Reason: "All stands alone: it is in " + key}
	}
	if depth == maxNesting {
		return nil, &schema.Error{Reason: fmt.Sprintf("%s: Wheres are in one another more than %d deep", key, maxNesting)}
	}
	return w.termsAt(depth + 1)
}

// asWhere takes a Where, or what JSON makes of one.
func asWhere(v any) (Where, bool) {
	switch v := v.(type) {
	case Where:
		return v, true
	case map[string]any:
		return v, true
	}
	return nil, false
}

// asWheres takes a list of Wheres, or what JSON makes of one.
func asWheres(v any) ([]Where, bool) {
	var list []Where
	switch v := v.(type) {
	case []Where:
		return v, true
	case []map[string]any:
		for _, w := range v {
			list = append(list, w)
		}
	case []any:
		for _, e := range v {
			w, ok := asWhere(e)
			if !ok {
				return nil, false
			}
			list = append(list, w)
		}
	default:
		return nil, false
	}
	return list, true
}
