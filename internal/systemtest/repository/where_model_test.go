package repository_test

import (
	"bytes"
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go"
	"pgregory.net/rapid"
)

// thing has a column of every kind, with and without NULL.
type thing struct {
	driftdb.Base
	Text  string
	TextN *string `db:",index"`
	Int   int64   `db:",index"`
	IntN  *int64
	Real  float64
	RealN *float64
	Bool  bool
	BoolN *bool
	Blob  []byte
	BlobN *[]byte
	At    time.Time
	AtN   *time.Time
}

// columns is the thing as a plain filter sees it.
func (v thing) columns() map[string]any {
	return map[string]any{
		"id": v.ID, "text": v.Text, "int": v.Int, "real": v.Real, "bool": v.Bool, "blob": v.Blob, "at": v.At,
		"textN": plain(v.TextN), "intN": plain(v.IntN), "realN": plain(v.RealN),
		"boolN": plain(v.BoolN), "blobN": plain(v.BlobN), "atN": plain(v.AtN),
	}
}

func plain[V any](p *V) any {
	if p == nil {
		return nil
	}
	return *p
}

// The values are few, so that conditions hit, and nasty.
var (
	someText = rapid.SampledFrom([]string{"", "a", "A", "ab", "aB", "b", "é", "É", "a%b", "a_b", "日本", "'; DROP TABLE things; --", `"`, "\xff"})
	someInt  = rapid.SampledFrom([]int64{0, 1, -1, 2, 1<<53 + 1, 1 << 53, math.MaxInt64, math.MinInt64})
	someReal = rapid.SampledFrom([]float64{0, 1, -1, 0.1, 0.3, 1e300, 5e-324, math.Inf(1), math.Inf(-1)})
	someBool = rapid.Bool()
	someBlob = rapid.SampledFrom([][]byte{{}, {0}, {0, 1}, {255}, []byte("a")})
	someTime = rapid.Map(rapid.SampledFrom([]int64{0, 1, -1, 1704067200123, 1704067200124}), func(ms int64) time.Time { return time.UnixMilli(ms).UTC() })
)

func someThing() *rapid.Generator[thing] {
	return rapid.Custom(func(t *rapid.T) thing {
		return thing{
			Text: someText.Draw(t, "text"), TextN: rapid.Ptr(someText, true).Draw(t, "textN"),
			Int: someInt.Draw(t, "int"), IntN: rapid.Ptr(someInt, true).Draw(t, "intN"),
			Real: someReal.Draw(t, "real"), RealN: rapid.Ptr(someReal, true).Draw(t, "realN"),
			Bool: someBool.Draw(t, "bool"), BoolN: rapid.Ptr(someBool, true).Draw(t, "boolN"),
			Blob: someBlob.Draw(t, "blob"), BlobN: rapid.Ptr(someBlob, true).Draw(t, "blobN"),
			At: someTime.Draw(t, "at"), AtN: rapid.Ptr(someTime, true).Draw(t, "atN"),
		}
	})
}

// kind is a column without its N.
func kind(column string) string { return strings.TrimSuffix(column, "N") }

func someValue(column string) *rapid.Generator[any] {
	switch kind(column) {
	case "text":
		return someText.AsAny()
	case "int":
		return someInt.AsAny()
	case "real":
		return someReal.AsAny()
	case "bool":
		return someBool.AsAny()
	case "blob":
		return someBlob.AsAny()
	default:
		return someTime.AsAny()
	}
}

// condition is a condition on a column, in the API's spelling and as a plain
// function.
type condition struct {
	spelled any
	holds   func(v any) bool
}

var operators = map[string]func(v, operand any) bool{
	"$gt":  func(v, x any) bool { return v != nil && compare(v, x) > 0 },
	"$gte": func(v, x any) bool { return v != nil && compare(v, x) >= 0 },
	"$lt":  func(v, x any) bool { return v != nil && compare(v, x) < 0 },
	"$lte": func(v, x any) bool { return v != nil && compare(v, x) <= 0 },
	"$ne":  func(v, x any) bool { return compare(v, x) != 0 },
	"$in": func(v, x any) bool {
		return v != nil && slices.ContainsFunc(x.([]any), func(e any) bool { return compare(v, e) == 0 })
	},
	"$nin": func(v, x any) bool {
		return !slices.ContainsFunc(x.([]any), func(e any) bool { return v != nil && compare(v, e) == 0 })
	},
	"$between": func(v, x any) bool {
		ends := x.([]any)
		return v != nil && compare(v, ends[0]) >= 0 && compare(v, ends[1]) <= 0
	},
	"$exists": func(v, x any) bool { return (v != nil) == x.(bool) },
	"$like":   func(v, x any) bool { return v != nil && like(v.(string), x.(string)) },
}

func someOperator(t *rapid.T, column string) (name string, operand any) {
	names := []string{"$ne", "$in", "$nin", "$exists"}
	if kind(column) != "bool" {
		names = append(names, "$gt", "$gte", "$lt", "$lte", "$between")
	}
	if kind(column) == "text" {
		names = append(names, "$like")
	}
	switch name = rapid.SampledFrom(names).Draw(t, "operator"); name {
	case "$in", "$nin":
		return name, rapid.SliceOfN(someValue(column), 0, 4).Draw(t, "list")
	case "$between":
		return name, rapid.SliceOfN(someValue(column), 2, 2).Draw(t, "ends")
	case "$exists":
		return name, rapid.Bool().Draw(t, "exists")
	case "$like":
		return name, rapid.SampledFrom([]string{"%", "", "a%", "%B", "_", "a_b", "%b%", "É", "é", "__"}).Draw(t, "pattern")
	case "$ne":
		if rapid.Bool().Draw(t, "nil") {
			return name, nil
		}
	}
	return name, someValue(column).Draw(t, "operand")
}

func someCondition(column string) *rapid.Generator[condition] {
	return rapid.Custom(func(t *rapid.T) condition {
		switch rapid.IntRange(0, 4).Draw(t, "form") {
		case 0:
			v := someValue(column).Draw(t, "equal")
			return condition{v, func(got any) bool { return compare(got, v) == 0 }}
		case 1:
			return condition{nil, func(got any) bool { return got == nil }}
		case 2:
			name, operand := someOperator(t, column)
			return condition{function(name, operand), func(got any) bool { return operators[name](got, operand) }}
		case 3:
			one, x := someOperator(t, column)
			two, y := someOperator(t, column)
			return condition{
				driftdb.And(function(one, x), function(two, y)),
				func(got any) bool { return operators[one](got, x) && operators[two](got, y) },
			}
		default:
			ops := map[string]any{}
			for range rapid.IntRange(1, 3).Draw(t, "n") {
				name, operand := someOperator(t, column)
				ops[name] = operand
			}
			holds := func(got any) bool {
				for name, operand := range ops {
					if !operators[name](got, operand) {
						return false
					}
				}
				return true
			}
			if rapid.Bool().Draw(t, "json") && spelledInJSON(ops) {
				return condition{throughJSON(t, ops), holds}
			}
			return condition{driftdb.Ops(maps.Clone(ops)), holds}
		}
	})
}

// function is an operator as a typed function.
func function(name string, operand any) driftdb.Op {
	switch name {
	case "$ne":
		if operand == nil {
			return driftdb.NotNull()
		}
		return driftdb.Ne(operand)
	case "$in":
		return driftdb.In(operand.([]any)...)
	case "$nin":
		return driftdb.NotIn(operand.([]any)...)
	case "$exists":
		if operand.(bool) {
			return driftdb.NotNull()
		}
		return driftdb.IsNull()
	case "$between":
		return between(operand.([]any))
	case "$like":
		return driftdb.Like(operand.(string))
	}
	switch v := operand.(type) {
	case string:
		return ordering(name, v)
	case int64:
		return ordering(name, v)
	case float64:
		return ordering(name, v)
	case []byte:
		return ordering(name, v)
	default:
		return ordering(name, v.(time.Time))
	}
}

func between(ends []any) driftdb.Op {
	switch low := ends[0].(type) {
	case string:
		return driftdb.Between(low, ends[1].(string))
	case int64:
		return driftdb.Between(low, ends[1].(int64))
	case float64:
		return driftdb.Between(low, ends[1].(float64))
	case []byte:
		return driftdb.Between(low, ends[1].([]byte))
	default:
		return driftdb.Between(low.(time.Time), ends[1].(time.Time))
	}
}

func ordering[V driftdb.Ordered](name string, v V) driftdb.Op {
	return map[string]func(V) driftdb.Op{"$gt": driftdb.Gt[V], "$gte": driftdb.Gte[V], "$lt": driftdb.Lt[V], "$lte": driftdb.Lte[V]}[name](v)
}

// spelledInJSON reports whether JSON can say it: it knows no blobs, no
// infinities, and times only as numbers.
func spelledInJSON(ops map[string]any) bool {
	ok := true
	walk := func(v any) {
		switch v := v.(type) {
		case []byte, time.Time:
			ok = false
		case float64:
			ok = ok && !math.IsInf(v, 0)
		case string:
			ok = ok && utf8.ValidString(v)
		}
	}
	for _, v := range ops {
		if list, isList := v.([]any); isList {
			for _, e := range list {
				walk(e)
			}
		}
		walk(v)
	}
	return ok
}

func throughJSON(t *rapid.T, v map[string]any) any {
	return whereThroughJSON(t, map[string]any{"x": v})["x"]
}

// compare orders values like a column does; nil comes first.
func compare(a, b any) int {
	if a == nil || b == nil {
		return cmp.Compare(b2i(a != nil), b2i(b != nil))
	}
	switch a := a.(type) {
	case string:
		return strings.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case bool:
		return cmp.Compare(b2i(a), b2i(b.(bool)))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	default:
		return a.(time.Time).Compare(b.(time.Time))
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// like is LIKE, the slow way.
func like(s, pattern string) bool {
	if pattern == "" {
		return s == ""
	}
	p, n := utf8.DecodeRuneInString(pattern)
	if p == '%' {
		for i := range s {
			if like(s[i:], pattern[n:]) {
				return true
			}
		}
		return like("", pattern[n:])
	}
	if s == "" {
		return false
	}
	r, m := utf8.DecodeRuneInString(s)
	lower := func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	return (p == '_' || lower(p) == lower(r)) && like(s[m:], pattern[n:])
}

// filter is Find, the plain way.
func filter(rows []thing, holds func(row map[string]any) bool, order []string, desc []bool) []thing {
	var out []thing
	for _, v := range rows {
		if holds(v.columns()) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b thing) int {
		x, y := a.columns(), b.columns()
		for i, c := range order {
			if d := compare(x[c], y[c]); d != 0 {
				return d * (1 - 2*b2i(desc[i]))
			}
		}
		return 0
	})
	return out
}
