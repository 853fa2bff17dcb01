package driftdb_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
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
	"$like": func(v, x any) bool { return v != nil && like(v.(string), x.(string)) },
}

func someOperator(t *rapid.T, column string) (name string, operand any) {
	names := []string{"$ne", "$in"}
	if kind(column) != "bool" {
		names = append(names, "$gt", "$gte", "$lt", "$lte")
	}
	if kind(column) == "text" {
		names = append(names, "$like")
	}
	switch name = rapid.SampledFrom(names).Draw(t, "operator"); name {
	case "$in":
		return name, rapid.SliceOfN(someValue(column), 0, 4).Draw(t, "list")
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
	b, err := json.Marshal(map[string]any{"x": v})
	if err != nil {
		t.Fatal(err)
	}
	var w driftdb.Where
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&w); err != nil {
		t.Fatal(err)
	}
	return w["x"]
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

// Every operator, in every spelling, finds the rows that a plain filter over
// the same rows finds, in the same order.
func TestOperatorsAgainstFilter(t *testing.T) {
	ctx := t.Context()
	things := define[thing](t, newDB(t), "things")
	var columns []string
	for c := range (thing{}).columns() {
		columns = append(columns, c)
	}
	slices.Sort(columns)
	rapid.Check(t, func(t *rapid.T) {
		if _, err := things.Delete(ctx, driftdb.All); err != nil {
			t.Fatal(err)
		}
		rows, err := things.CreateMany(ctx, rapid.SliceOfN(someThing(), 0, 24).Draw(t, "rows"))
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			q := driftdb.Query{Where: driftdb.Where{}}
			conditions := map[string]condition{}
			for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(columns[1:]), 0, 3, rapid.ID).Draw(t, "columns") {
				if c == "id" {
					continue
				}
				conditions[c] = someCondition(c).Draw(t, c)
				q.Where[c] = conditions[c].spelled
			}
			order := append(rapid.SliceOfN(rapid.SampledFrom(columns), 0, 3).Draw(t, "order"), "id")
			desc := rapid.SliceOfN(rapid.Bool(), len(order), len(order)).Draw(t, "desc")
			for i, c := range order {
				if desc[i] {
					q.OrderBy = append(q.OrderBy, driftdb.Desc(c))
				} else {
					q.OrderBy = append(q.OrderBy, driftdb.Asc(c))
				}
			}
			q.Limit = rapid.IntRange(0, 5).Draw(t, "limit")
			q.Offset = rapid.IntRange(0, 5).Draw(t, "offset")

			var want []string
			matching := filter(rows, conditions, order, desc)
			for i, v := range matching {
				if i >= q.Offset && (q.Limit == 0 || i < q.Offset+q.Limit) {
					want = append(want, v.ID)
				}
			}
			found, err := things.Find(ctx, q)
			if err != nil {
				t.Fatalf("%v: %v", q.Where, err)
			}
			var got []string
			for _, v := range found {
				got = append(got, v.ID)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%#v:\ngot  %v\nwant %v", q, got, want)
			}
			if n, err := things.Count(ctx, q.Where); err != nil || n != int64(len(matching)) {
				t.Fatalf("counted %d, %v, want %d", n, err, len(matching))
			}
		}
	})
}

func filter(rows []thing, conditions map[string]condition, order []string, desc []bool) []thing {
	var out []thing
	for _, v := range rows {
		columns, ok := v.columns(), true
		for c, cond := range conditions {
			ok = ok && cond.holds(columns[c])
		}
		if ok {
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

// $in takes any number of values, and the text of the statement stays the same.
func TestInSizes(t *testing.T) {
	ctx := t.Context()
	repo := define[thing](t, newDB(t), "things")
	var rows []thing
	for i := range 300 {
		rows = append(rows, thing{Int: int64(i)<<53 + 1, Text: fmt.Sprint(i), Blob: fmt.Append(nil, i)})
	}
	if _, err := repo.CreateMany(ctx, rows); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 10_000, 100_000} {
		ints, texts, blobs := make([]int64, n), make([]any, n), make([][]byte, n)
		for i := range n {
			ints[i], texts[i], blobs[i] = int64(i)<<53+1, fmt.Sprint(i), fmt.Append(nil, i)
		}
		for _, w := range []driftdb.Where{
			{"int": driftdb.In(ints...)}, {"int": driftdb.Ops{"$in": ints}}, {"text": driftdb.Ops{"$in": texts}},
			{"blob": driftdb.In(blobs...)}, {"int": driftdb.In(ints...), "text": driftdb.In(texts...)},
		} {
			if got, err := repo.Count(ctx, w); err != nil || got != int64(min(n, len(rows))) {
				t.Errorf("%d values: got %d, %v", n, got, err)
			}
		}
	}
}

// What JSON makes of numbers is taken if it can mean only one value.
func TestWhereFromJSON(t *testing.T) {
	ctx := t.Context()
	repo := define[thing](t, newDB(t), "things")
	made, err := repo.Create(ctx, thing{Int: 18, Real: 1.5, Bool: true, At: time.UnixMilli(1704067200000)})
	if err != nil {
		t.Fatal(err)
	}
	for spelled, want := range map[string]string{
		`{"int": 18, "real": 1.5, "bool": true, "at": 1704067200000, "textN": null}`:        "",
		`{"int": {"$gte": 18, "$lt": 19.0}, "bool": 1, "id": {"$in": ["` + made.ID + `"]}}`: "",
		`{"int": {"$gt": 17.5}}`:                 `column "int": 17.5 is not a whole number`,
		`{"int": 9007199254740994}`:              `decode JSON with UseNumber`,
		`{"int": {"$between": [1, 2]}}`:          `"$between" is no operator`,
		`{"int": {}}`:                            "no operator",
		`{"int": [18]}`:                          "cannot be stored",
		`{"bool": {"$gt": false}}`:               `column "bool": $gt is not for a boolean column`,
		`{"int": {"gt": 1}}`:                     "is no operator",
		`{"id\" = '' OR \"id": {"$ne": "x"}}`:    "no such column",
		`{"1 = 1; DROP TABLE things; --": null}`: "no such column",
		`{"text": {"$like": 5}}`:                 "does not fit",
		`{"": null}`:                             "no such column",
	} {
		var w driftdb.Where
		if err := json.Unmarshal([]byte(spelled), &w); err != nil {
			t.Fatal(err)
		}
		v, err := repo.FindOne(ctx, w)
		if want == "" {
			if err != nil || v.ID != made.ID {
				t.Errorf("%s: got %q, %v", spelled, v.ID, err)
			}
			continue
		}
		if e, ok := errors.AsType[*driftdb.SchemaError](err); !ok || e.Table != "things" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a SchemaError with %q", spelled, err, want)
		}
	}
}

// All is the only way to every row, and cannot be narrowed by accident.
func TestAllAndEmptyWhere(t *testing.T) {
	ctx := t.Context()
	repo := define[thing](t, newDB(t), "things")
	if _, err := repo.CreateMany(ctx, make([]thing, 3)); err != nil {
		t.Fatal(err)
	}
	for _, w := range []driftdb.Where{nil, {}} {
		_, update := repo.Update(ctx, w, driftdb.Set{"int": 1})
		_, remove := repo.Delete(ctx, w)
		_, upsert := repo.Upsert(ctx, w, driftdb.Set{"int": 1})
		for _, err := range []error{update, remove, upsert} {
			if !errors.Is(err, driftdb.ErrEmptyWhere) || !strings.Contains(err.Error(), "things") {
				t.Errorf("got %v, want ErrEmptyWhere", err)
			}
		}
		if n, err := repo.Count(ctx, w); n != 3 || err != nil {
			t.Errorf("counted %d, %v", n, err)
		}
	}
	mixed := maps.Clone(driftdb.All)
	mixed["int"] = 0
	if _, err := repo.Delete(ctx, mixed); !errors.As(err, new(*driftdb.SchemaError)) {
		t.Errorf("a condition beside All: %v", err)
	}
	if n, err := repo.Count(ctx, driftdb.All); n != 3 || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
	if n, err := repo.Update(ctx, driftdb.All, driftdb.Set{"int": 7}); n != 3 || err != nil {
		t.Errorf("updated %d, %v", n, err)
	}
	if n, err := repo.Delete(ctx, driftdb.All); n != 3 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
}

func FuzzWhereJSON(f *testing.F) {
	f.Add([]byte(`{"int": {"$gte": 18}, "text": {"$in": ["a", "b"]}}`))
	f.Add([]byte(`{"bool": null, "real": {"$ne": null}, "textN": {"$like": "a%"}}`))
	f.Add([]byte(`{"int\" OR 1 --": 1}`))
	repo := define[thing](f, newDB(f), "things")
	f.Fuzz(func(t *testing.T, b []byte) {
		var w driftdb.Where
		if json.Unmarshal(b, &w) != nil {
			return
		}
		if _, err := repo.Count(t.Context(), w); err != nil && !errors.As(err, new(*driftdb.SchemaError)) {
			t.Fatalf("%s: %v", b, err) // SQL was run that should not have been
		}
	})
}
