package schema

import (
	"errors"
	"fmt"
)

// Where is a condition as users write it: columns with conditions, and groups of other
// Wheres.
type Where map[string]any

// Ops maps operators to their operands.
type Ops map[string]any

// All is the condition of the Where that matches every row. It has no column, and stands
// alone.
type All struct{}

// The keys of a Where that are not columns.
const (
	OrKey  = "$or"
	AndKey = "$and"
	NotKey = "$not"
)

// parser parses a Where. known converts a value of one of the caller's types to a type of
// this package: a Where, a list of them, Ops, All, or the terms of one column.
type parser struct{ known func(any) any }

// Terms parses w into terms, all of which must hold.
func (w Where) Terms(known func(any) any) ([]Term, error) { return parser{known}.terms(w, 0) }

// terms parses a Where that is nested this deep in others.
func (p parser) terms(w Where, depth int) ([]Term, error) {
	if p.isAll(w) {
		return nil, nil
	}
	terms := make([]Term, 0, len(w))
	for key, condition := range w {
		var err error
		switch key {
		case OrKey, AndKey, NotKey:
			terms, err = p.appendGroups(terms, key, condition, depth)
		default:
			terms, err = p.appendColumn(terms, key, condition)
		}
		if err != nil {
			return nil, err
		}
	}
	return terms, nil
}

// appendColumn appends the condition on a column.
func (p parser) appendColumn(terms []Term, column string, condition any) ([]Term, error) {
	n := len(terms)
	var err error
	switch c := p.known(condition).(type) {
	case []Term:
		terms = append(terms, c...)
	case Ops:
		terms, err = c.appendTo(terms)
	case map[string]any:
		terms, err = Ops(c).appendTo(terms)
	case All:
		return nil, &Error{Reason: "All stands alone: a condition was added to it"}
	default:
		terms = append(terms, Term{Op: Eq, Value: condition})
	}
	if err == nil && len(terms) == n {
		err = errors.New("its condition has no operator")
	}
	if err != nil {
		return nil, &Error{Column: column, Reason: err.Error()}
	}
	for i := range terms[n:] {
		terms[n+i].Column = column
	}
	return terms, nil
}

// appendTo appends one term, still without a column, for each operator.
func (o Ops) appendTo(terms []Term) ([]Term, error) {
	for name, operand := range o {
		if name == "$exists" {
			exists, ok := operand.(bool)
			if !ok {
				return nil, fmt.Errorf("$exists takes true or false, not a %T", operand)
			}
			op := Eq
			if exists {
				op = Ne
			}
			terms = append(terms, Term{Op: op})
			continue
		}
		op, ok := ParseOperator(name)
		if !ok {
			return nil, fmt.Errorf("%q is no operator on a column: $gt, $gte, $lt, $lte, $ne, $in, $nin, $between, $like and $exists are", name)
		}
		terms = append(terms, Term{Op: op, Value: operand})
	}
	return terms, nil
}

// isAll reports whether w means every row.
func (p parser) isAll(w Where) bool {
	if len(w) != 1 {
		return false
	}
	_, ok := p.known(w[""]).(All)
	return ok
}

// maxNesting is how deep Wheres may be nested: SQLite limits the depth of an expression.
const maxNesting = 32

// appendGroups appends the terms for key ($or, $and or $not) and its condition.
func (p parser) appendGroups(terms []Term, key string, condition any, depth int) ([]Term, error) {
	if key == NotKey {
		w, ok := p.asWhere(condition)
		if !ok {
			reason := fmt.Sprintf("$not takes a Where, not a %T; for a column it is {\"$not\": {\"age\": …}}", condition)
			return nil, &Error{Reason: reason}
		}
		group, err := p.group(w, key, depth)
		return append(terms, Term{Op: Not, Groups: [][]Term{group}}), err
	}
	list, ok := p.asWheres(condition)
	if !ok {
		return nil, &Error{Reason: fmt.Sprintf("%s takes a list of Wheres, not a %T", key, condition)}
	}
	if key == AndKey && len(list) == 0 {
		return nil, &Error{Reason: "$and has no Where, so it would hold for every row"}
	}
	groups := make([][]Term, len(list))
	for i, w := range list {
		var err error
		if groups[i], err = p.group(w, key, depth); err != nil {
			return nil, err
		}
	}
	if key == OrKey {
		return append(terms, Term{Op: Or, Groups: groups}), nil
	}
	for _, group := range groups { // all entries must hold anyway
		terms = append(terms, group...)
	}
	return terms, nil
}

// group parses a Where that is the condition of key, at this depth. An empty Where is an
// error: it would match every row, which cannot be meant there.
func (p parser) group(w Where, key string, depth int) ([]Term, error) {
	if len(w) == 0 {
		return nil, &Error{Reason: key + " has an empty Where, which would hold for every row"}
	}
	if p.isAll(w) {
		return nil, &Error{Reason: "All stands alone: it is in " + key}
	}
	if depth == maxNesting {
		return nil, &Error{Reason: fmt.Sprintf("%s: Wheres are in one another more than %d deep", key, maxNesting)}
	}
	return p.terms(w, depth+1)
}

// asWhere accepts a Where, or a Where decoded from JSON.
func (p parser) asWhere(v any) (Where, bool) {
	switch v := p.known(v).(type) {
	case Where:
		return v, true
	case map[string]any:
		return v, true
	}
	return nil, false
}

// asWheres accepts a list of Wheres, or such a list decoded from JSON.
func (p parser) asWheres(v any) ([]Where, bool) {
	var list []Where
	switch v := p.known(v).(type) {
	case []Where:
		return v, true
	case []map[string]any:
		for _, w := range v {
			list = append(list, w)
		}
	case []any:
		for _, e := range v {
			w, ok := p.asWhere(e)
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
