package schema_test

import (
	"database/sql"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"pgregory.net/rapid"
)

var typed = []schema.Column{
	{Name: "text", Type: schema.Text},
	{Name: "int", Type: schema.Integer},
	{Name: "real", Type: schema.Real},
	{Name: "bool", Type: schema.Boolean},
	{Name: "blob", Type: schema.Blob},
	{Name: "json", Type: schema.JSON},
}

func TestConversions(t *testing.T) {
	type (
		word   string
		number uint8
	)
	five, at := 5, time.UnixMilli(1704067200123)
	intOf := func(n int64) schema.Value { return schema.Value{Kind: schema.KindInteger, Int: n} }
	realOf := func(f float64) schema.Value { return schema.Value{Kind: schema.KindReal, Real: f} }
	textOf := func(s string) schema.Value { return schema.Value{Kind: schema.KindText, Text: s} }
	blobOf := func(b ...byte) schema.Value { return schema.Value{Kind: schema.KindBlob, Blob: append([]byte{}, b...)} }
	null := schema.Value{Kind: schema.KindNull}
	for _, tc := range []struct {
		column string
		in     any
		want   schema.Value
		reason string
	}{
		{"text", "a", textOf("a"), ""},
		{"text", word("a"), textOf("a"), ""},
		{"text", nil, null, ""},
		{"text", (*string)(nil), null, ""},
		{"text", sql.NullString{}, null, ""},
		{"text", sql.NullString{String: "x", Valid: true}, textOf("x"), ""},
		{"text", 5, null, "a int does not fit a column of type TEXT"},
		{"text", []byte("a"), null, "does not fit"},
		{"text", []string{"a"}, null, "cannot be stored"},
		{"text", struct{}{}, null, "cannot be stored"},
		{"int", 5, intOf(5), ""},
		{"int", &five, intOf(5), ""},
		{"int", number(5), intOf(5), ""},
		{"int", uint64(math.MaxInt64), intOf(math.MaxInt64), ""},
		{"int", uint64(math.MaxUint64), null, "overflows"},
		{"int", 5.0, intOf(5), ""},
		{"int", math.Copysign(0, -1), intOf(0), ""},
		{"int", 5.5, null, "not a whole number"},
		{"int", math.Inf(1), null, "not a whole number"},
		{"int", float64(1 << 53), intOf(1 << 53), ""},
		{"int", float64(1<<53 + 2), null, "UseNumber"},
		{"int", json.Number("9223372036854775807"), intOf(math.MaxInt64), ""},
		{"int", json.Number("5.0"), intOf(5), ""},
		{"int", json.Number("5.5"), null, "not a whole number"},
		{"int", json.Number("1e999"), null, "not a number"},
		{"int", true, null, "a bool does not fit"},
		{"int", "5", null, "a string does not fit"},
		{"int", at, null, "a time.Time does not fit"},
		{"int", sql.Null[int64]{V: 5, Valid: true}, intOf(5), ""},
		{"real", 1.5, realOf(1.5), ""},
		{"real", float32(1.5), realOf(1.5), ""},
		{"real", 5, realOf(5), ""},
		{"real", int64(1<<53 + 1), null, "not exact"},
		{"real", math.NaN(), null, "NaN"},
		{"real", math.Inf(-1), realOf(math.Inf(-1)), ""},
		{"real", json.Number("1e3"), realOf(1000), ""},
		{"real", "1.5", null, "does not fit"},
		{"bool", true, intOf(1), ""},
		{"bool", 0, intOf(0), ""},
		{"bool", 1.0, intOf(1), ""},
		{"bool", 2, null, "does not fit a boolean column"},
		{"bool", 0.5, null, "does not fit"},
		{"bool", "true", null, "does not fit"},
		{"blob", []byte{1}, blobOf(1), ""},
		{"blob", []byte(nil), blobOf(), ""},
		{"blob", json.RawMessage{1}, blobOf(1), ""},
		{"blob", "a", null, "does not fit"},
		{"json", map[string]int{"a": 1}, textOf(`{"a":1}`), ""},
		{"json", nil, null, ""},
		{"json", (*word)(nil), null, ""},
		{"json", math.NaN(), null, "as JSON"},
		{"createdAt", at, intOf(1704067200123), ""},
		{"createdAt", &at, intOf(1704067200123), ""},
		{"createdAt", 1704067200123, intOf(1704067200123), ""},
		{"createdAt", 1704067200123.0, intOf(1704067200123), ""},
		{"createdAt", "2024-01-01", null, "does not fit a time column"},
		{"createdAt", time.Unix(math.MinInt64/2, 0), null, "out of range"},
	} {
		tab := table(t, "t", typed...)
		row := make([]schema.Value, len(tab.Columns))
		err := tab.EncodeRecord(map[string]any{tc.column: tc.in}, row)
		if tc.reason != "" {
			wantError(t, err, "t", tc.column, tc.reason)
			continue
		}
		for i, c := range tab.Columns {
			if c.Name == tc.column && (err != nil || !reflect.DeepEqual(row[i], tc.want)) {
				t.Errorf("%s, %T(%v): got %+v, %v, want %+v", tc.column, tc.in, tc.in, row[i], err, tc.want)
			}
		}
	}
}

func TestWhereRefuses(t *testing.T) {
	tab := table(t, "t", typed...)
	for _, tc := range []struct {
		term   schema.Term
		reason string
	}{
		{schema.Term{Column: "nope", Op: schema.Eq}, "no such column"},
		{schema.Term{Column: "Text", Op: schema.Eq}, `"text" is one`},
		{schema.Term{Column: `text" = '' OR 1 --`, Op: schema.Eq, Value: "x"}, "no such column"},
		{schema.Term{Column: "bool", Op: schema.Gt, Value: true}, "$gt does not apply to a boolean column"},
		{schema.Term{Column: "json", Op: schema.Lte, Value: 1}, "$lte does not apply to a JSON column"},
		{schema.Term{Column: "int", Op: schema.Like, Value: "1%"}, "$like does not apply to a column of type INTEGER"},
		{schema.Term{Column: "createdAt", Op: schema.Like, Value: "1%"}, "$like does not apply to a time column"},
		{schema.Term{Column: "text", Op: schema.Like, Value: 5}, "does not fit"},
		{schema.Term{Column: "text", Op: schema.Like, Value: nil}, "$like cannot compare with nil"},
		{schema.Term{Column: "int", Op: schema.Gt, Value: nil}, "$gt cannot compare with nil"},
		{schema.Term{Column: "int", Op: schema.Gt, Value: "x"}, "does not fit"},
		{schema.Term{Column: "int", Op: schema.In, Value: 5}, "takes a list"},
		{schema.Term{Column: "int", Op: schema.In, Value: nil}, "takes a list"},
		{schema.Term{Column: "blob", Op: schema.In, Value: []byte("ab")}, "takes a list"},
		{schema.Term{Column: "int", Op: schema.In, Value: []any{1, "x"}}, "element 1 of $in"},
		{schema.Term{Column: "int", Op: schema.In, Value: []any{1, nil}}, "takes no nil"},
	} {
		s, err := tab.Count([]schema.Term{tc.term})
		wantError(t, err, "t", tc.term.Column, tc.reason)
		if s.SQL != "" {
			t.Errorf("%+v: there is a statement: %s", tc.term, s.SQL)
		}
	}
	_, err := tab.Select(schema.Query{OrderBy: []schema.Order{{Column: "text; DROP TABLE t"}}})
	wantError(t, err, "t", "text; DROP TABLE t", "no such column")
	_, err = tab.Select(schema.Query{Limit: -1})
	wantError(t, err, "t", "", "negative")
	_, err = tab.Update(map[string]any{"id": "x"}, 1, nil, false)
	wantError(t, err, "t", "id", "cannot be set")
	_, err = tab.Update(map[string]any{"createdAt": 1}, 1, nil, false)
	wantError(t, err, "t", "createdAt", "cannot be set")
	_, err = tab.Update(map[string]any{"nope": 1}, 1, nil, false)
	wantError(t, err, "t", "nope", "no such column")
}

// One shape has one text, whatever the order it was written in.
func TestOneTextPerShape(t *testing.T) {
	tab := table(t, "t", typed...)
	terms := []schema.Term{
		{Column: "int", Op: schema.Lt, Value: 9}, {Column: "int", Op: schema.Gte, Value: 1},
		{Column: "text", Op: schema.In, Value: []string{"a"}}, {Column: "real", Op: schema.Ne, Value: 1},
	}
	const want = `SELECT count(*) FROM "t" WHERE "text" IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))` +
		` AND "int" >= ? AND "int" < ? AND "real" IS NOT ?`
	for range len(terms) {
		terms = append(terms[1:], terms[0])
		s, err := tab.Count(terms)
		if err != nil || s.SQL != want || len(s.Args) != 4 {
			t.Errorf("got %s, %v, %v", s.SQL, s.Args, err)
		}
	}
}

// Equality, $in and their opposites find a value exactly: every bit of an
// integer and a float, any bytes in text and blobs.
func TestExactMatches(t *testing.T) {
	c := openDB(t)
	tab := table(t, "t", typed...)
	exec(t, c, tab.Create()...)
	texts := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }), rapid.Just("a\x00b"))
	reals := rapid.OneOf(rapid.Float64(), rapid.Map(rapid.Uint64(), math.Float64frombits)).Filter(func(f float64) bool { return !math.IsNaN(f) })
	rapid.Check(t, func(t *rapid.T) {
		record := map[string]any{
			"id": "x", "createdAt": rapid.Int64().Draw(t, "ms"), "updatedAt": 1,
			"text": texts.Draw(t, "text"), "int": rapid.Int64().Draw(t, "int"), "real": reals.Draw(t, "real"),
			"bool": rapid.Bool().Draw(t, "bool"), "blob": rapid.SliceOf(rapid.Byte()).Draw(t, "blob"),
			"json": rapid.SliceOf(rapid.String()).Draw(t, "json"),
		}
		row := make([]schema.Value, len(tab.Columns))
		if err := tab.EncodeRecord(record, row); err != nil {
			t.Fatal(err)
		}
		exec(t, c, "DELETE FROM t")
		run(t, c, schema.Statement{SQL: tab.InsertComplete(), Args: row}, nil)
		for column, v := range record {
			list := reflect.Append(reflect.MakeSlice(reflect.SliceOf(reflect.TypeFor[any]()), 0, 1), reflect.ValueOf(v)).Interface()
			for _, q := range []struct {
				op   schema.Operator
				v    any
				want int64
			}{{schema.Eq, v, 1}, {schema.Ne, v, 0}, {schema.In, list, 1}, {schema.In, []any{}, 0}, {schema.NotIn, list, 0}, {schema.NotIn, []any{}, 1}, {schema.Eq, nil, 0}, {schema.Ne, nil, 1}} {
				s, err := tab.Count([]schema.Term{{Column: column, Op: q.op, Value: q.v}})
				if err != nil {
					t.Fatal(err)
				}
				run(t, c, s, func(st *sqlite.Stmt) error {
					if n := st.Int64(0); n != q.want {
						t.Fatalf("%s, operator %d, %v: found %d rows, want %d", column, q.op, q.v, n, q.want)
					}
					return nil
				})
			}
		}
	})
}

// A record's values come back as they were meant, and values of a foreign type
// as they are.
func TestRecordDecode(t *testing.T) {
	tab := table(t, "t", typed...)
	row := schema.Tuple{
		{Kind: schema.KindText, Text: "x"}, {Kind: schema.KindInteger, Int: 1}, {Kind: schema.KindInteger, Int: 2},
		{Kind: schema.KindBlob, Blob: []byte{1}}, {Kind: schema.KindText, Text: "many"}, {Kind: schema.KindInteger, Int: 3},
		{Kind: schema.KindInteger, Int: 1}, {Kind: schema.KindNull}, {},
	}
	want := map[string]any{"id": "x", "createdAt": int64(1), "updatedAt": int64(2), "text": []byte{1}, "int": "many",
		"real": int64(3), "bool": true, "blob": nil, "json": nil}
	if got := tab.DecodeRecord(row); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := schema.RecordsOf(strings.Fields("a b a"), make([]bool, 3)); err == nil {
		t.Error("two columns of one name were taken")
	}
}
