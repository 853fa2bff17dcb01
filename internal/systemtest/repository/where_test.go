package repository_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"pgregory.net/rapid"
)

// Every operator, in every spelling, finds the rows that a plain filter over
// the same rows finds, in the same order.
func TestOperatorsAgainstFilter(t *testing.T) {
	ctx := t.Context()
	things := systemtest.Define[thing](t, newDB(t), "things")
	var columns []string
	for c := range (thing{}).columns() {
		columns = append(columns, c)
	}
	slices.Sort(columns)
	conditional := slices.DeleteFunc(slices.Clone(columns), func(c string) bool { return c == "id" })
	rapid.Check(t, func(t *rapid.T) {
		if _, err := things.Delete(ctx, driftdb.All); err != nil {
			t.Fatal(err)
		}
		rows, err := things.CreateMany(ctx, rapid.SliceOfN(someThing(), 0, 24).Draw(t, "rows"))
		if err != nil {
			t.Fatal(err)
		}
		for range 8 {
			f := someWhere(conditional, 2).Draw(t, "where")
			q := driftdb.Query{Where: f.where}
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
			matching := filter(rows, f.holds, order, desc)
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
			if len(q.Where) == 0 {
				continue
			}
			if n, err := things.Count(ctx, driftdb.Not(q.Where)); err != nil || n != int64(len(rows)-len(matching)) {
				t.Fatalf("%v: %d rows and not %d of %d, %v", q.Where, len(matching), n, len(rows), err)
			}
		}
	})
}

// $in takes any number of values, and the text of the statement stays the same.
func TestInSizes(t *testing.T) {
	ctx := t.Context()
	repo := systemtest.Define[thing](t, newDB(t), "things")
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
	repo := systemtest.Define[thing](t, newDB(t), "things")
	made, err := repo.Create(ctx, thing{Int: 18, Real: 1.5, Bool: true, At: time.UnixMilli(1704067200000)})
	if err != nil {
		t.Fatal(err)
	}
	for spelled, want := range map[string]string{
		`{"int": 18, "real": 1.5, "bool": true, "at": 1704067200000, "textN": null}`:                                     "",
		`{"int": {"$gte": 18, "$lt": 19.0}, "bool": 1, "id": {"$in": ["` + made.ID + `"]}}`:                              "",
		`{"int": {"$between": [18, 19.0], "$nin": [1, 2], "$exists": true}, "textN": {"$exists": false, "$nin": ["a"]}}`: "",
		`{"$or": [{"int": 1}, {"$and": [{"int": 18}, {"$not": {"textN": {"$gt": "a"}}}]}]}`:                              "",
		`{"int": {"$gt": 17.5}}`:                 `column "int": 17.5 is not a whole number`,
		`{"int": 9007199254740994}`:              `decode JSON with UseNumber`,
		`{"int": {}}`:                            "no operator",
		`{"int": [18]}`:                          "cannot be stored",
		`{"bool": {"$gt": false}}`:               `column "bool": $gt does not apply to a boolean column`,
		`{"int": {"gt": 1}}`:                     "is no operator",
		`{"id\" = '' OR \"id": {"$ne": "x"}}`:    "no such column",
		`{"1 = 1; DROP TABLE things; --": null}`: "no such column",
		`{"text": {"$like": 5}}`:                 "does not fit",
		`{"": null}`:                             "no such column",

		`{"int": {"$between": [1]}}`:            `column "int": $between takes a list of two`,
		`{"int": {"$between": 1}}`:              `column "int": $between takes a list, not`,
		`{"int": {"$between": [1, null]}}`:      `column "int": $between takes no nil`,
		`{"int": {"$between": [1, "x"]}}`:       `column "int": element 1 of $between`,
		`{"bool": {"$between": [false, true]}}`: `column "bool": $between does not apply to a boolean column`,
		`{"int": {"$nin": [1, null]}}`:          `column "int": $nin takes no nil`,
		`{"int": {"$nin": 1}}`:                  `column "int": $nin takes a list`,
		`{"int": {"$exists": 1}}`:               `column "int": $exists takes true or false`,
		`{"int": {"$not": {"$gt": 1}}}`:         `column "int": "$not" is no operator on a column`,
		`{"$or": {"int": 1}}`:                   "$or takes a list of Wheres",
		`{"$or": [{"int": 1}, 2]}`:              "$or takes a list of Wheres",
		`{"$or": [{"int": 1}, {}]}`:             "$or has an empty Where",
		`{"$and": []}`:                          "$and has no Where",
		`{"$and": [{}]}`:                        "$and has an empty Where",
		`{"$not": {}}`:                          "$not has an empty Where",
		`{"$not": [{"int": 1}]}`:                "$not takes a Where",
		`{"$or": [{"int": {"$gt": "x"}}]}`:      `column "int": a string does not fit`,
		`{"$not": {"$or": [{"nope": 1}]}}`:      `column "nope": no such column`,
		`{"$nor": [{"int": 1}]}`:                `column "$nor": no such column`,
		nested(33):                              "more than 32 deep",
		`{"$or": [` + many(501) + `]}`:          "more than 500",
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
	repo := systemtest.Define[thing](t, newDB(t), "things")
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

// nested is a Where in n others.
func nested(n int) string {
	return strings.Repeat(`{"$not": `, n) + `{"int": 1}` + strings.Repeat("}", n)
}

// many are n Wheres in a list.
func many(n int) string {
	return strings.TrimSuffix(strings.Repeat(`{"int": {"$between": [1, 2]}},`, n), ",")
}

// TestWhereLimits: SQLite compiles whatever is within the limits, and statements that
// change rows take groups, and never an empty one.
func TestWhereLimits(t *testing.T) {
	ctx := t.Context()
	repo := systemtest.Define[thing](t, newDB(t), "things")
	if _, err := repo.CreateMany(ctx, []thing{{Int: 1}, {Int: 2}, {Int: 3}}); err != nil {
		t.Fatal(err)
	}
	deep := strings.Repeat(`{"$not": {"int": 9, "$or": [`, 16) + `{"int": 1}` + strings.Repeat("]}}", 16)
	for spelled, want := range map[string]int64{
		nested(32): 1, `{"$or": [` + many(499) + `]}`: 2, deep: 3,
		strings.Replace(deep, `{"int": 1}`, many(400), 1): 3,
		`{"$or": []}`: 0, `{"int": {"$nin": []}}`: 3,
	} {
		var w driftdb.Where
		if err := json.Unmarshal([]byte(spelled), &w); err != nil {
			t.Fatal(err)
		}
		if n, err := repo.Count(ctx, w); n != want || err != nil {
			t.Errorf("%.80s: %d, %v, want %d", spelled, n, err, want)
		}
	}
	for _, w := range []driftdb.Where{
		driftdb.Or(driftdb.Where{}), driftdb.Not(nil), driftdb.Or(driftdb.All), driftdb.Not(driftdb.All), {"$and": []driftdb.Where{}},
	} {
		if _, err := repo.Delete(ctx, w); !errors.As(err, new(*driftdb.SchemaError)) {
			t.Errorf("Delete of %v: %v", w, err)
		}
	}
	if n, err := repo.Update(ctx, driftdb.Or(driftdb.Where{"int": 1}, driftdb.Where{"int": driftdb.Between(3, 9)}), driftdb.Set{"text": "x"}); n != 2 || err != nil {
		t.Errorf("updated %d, %v", n, err)
	}
	made, err := repo.Upsert(ctx, driftdb.Where{"int": 4, "$not": driftdb.Where{"text": "x"}}, driftdb.Set{"real": 1})
	if err != nil || made.Int != 4 || made.Text != "" {
		t.Errorf("upserted %+v, %v", made, err)
	}
	if n, err := repo.Delete(ctx, driftdb.Not(driftdb.Where{"int": driftdb.NotIn(1, 2)})); n != 2 || err != nil {
		t.Errorf("deleted %d, %v", n, err)
	}
}

func FuzzWhereJSON(f *testing.F) {
	f.Add([]byte(`{"int": {"$gte": 18}, "text": {"$in": ["a", "b"]}}`))
	f.Add([]byte(`{"bool": null, "real": {"$ne": null}, "textN": {"$like": "a%"}}`))
	f.Add([]byte(`{"int\" OR 1 --": 1}`))
	f.Add([]byte(`{"$or": [{"int": {"$between": [1, 2]}}, {"$not": {"text": {"$nin": ["a"]}}}], "$and": [{"bool": {"$exists": true}}]}`))
	repo := systemtest.Define[thing](f, newDB(f), "things")
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
