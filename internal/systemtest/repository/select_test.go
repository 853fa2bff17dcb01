package repository_test

import (
	"database/sql"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

func TestSelectStruct(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	type row struct {
		Name  string
		Count int `db:"n"`
		Flag  bool
		At    *time.Time
		Other string // no column: stays zero
	}
	got := systemtest.Must(driftdb.Select[row](ctx, db, "SELECT ? AS name, ? AS n, ? AS flag, ? AS at UNION ALL SELECT 'b', 2.0, 0, NULL",
		"a", int8(1), true, time.UnixMilli(5)))
	at := time.UnixMilli(5).UTC()
	if want := []row{{Name: "a", Count: 1, Flag: true, At: &at}, {Name: "b", Count: 2}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if none := systemtest.Must(driftdb.Select[row](ctx, db, "SELECT 'x' AS name WHERE 0")); none == nil || len(none) != 0 {
		t.Errorf("got %v, want an empty slice", none)
	}
}

func TestSelectRecord(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	posts := systemtest.Must(db.Define(ctx, "posts", driftdb.Schema{driftdb.Boolean("published"), driftdb.Blob("data")}))
	made := systemtest.Must(posts.Create(ctx, driftdb.Record{"published": true, "data": []byte{}}))
	if got := systemtest.Must(driftdb.Select[driftdb.Record](ctx, db, "SELECT * FROM posts")); !reflect.DeepEqual(got, []driftdb.Record{made}) {
		t.Errorf("got %v, want %v", got, made)
	}
	got := systemtest.Must(driftdb.Select[driftdb.Record](ctx, db, "SELECT 1 AS i, 1.5 AS r, 'x' AS t, NULL AS n, x'00' AS b"))
	want := driftdb.Record{"i": int64(1), "r": 1.5, "t": "x", "n": nil, "b": []byte{0}}
	if !reflect.DeepEqual(got, []driftdb.Record{want}) {
		t.Errorf("got %v", got)
	}
}

func TestSelectScalar(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	type word string
	if got := systemtest.Must(driftdb.Select[int](ctx, db, "VALUES (1), (2)")); !reflect.DeepEqual(got, []int{1, 2}) {
		t.Errorf("got %v", got)
	}
	if got := systemtest.Must(driftdb.Select[float64](ctx, db, "SELECT ?", math.Inf(1))); got[0] != math.Inf(1) {
		t.Errorf("got %v", got)
	}
	if got := systemtest.Must(driftdb.Select[word](ctx, db, "SELECT ?", word("x"))); got[0] != "x" {
		t.Errorf("got %v", got)
	}
	if got := systemtest.Must(driftdb.Select[[]byte](ctx, db, "SELECT ?", []byte{1})); !reflect.DeepEqual(got, [][]byte{{1}}) {
		t.Errorf("got %v", got)
	}
	if got := systemtest.Must(driftdb.Select[*string](ctx, db, "SELECT ?", nil)); got[0] != nil {
		t.Errorf("got %v", got)
	}
	if got := systemtest.Must(driftdb.Select[sql.Null[int64]](ctx, db, "SELECT ?", sql.Null[int64]{V: 5, Valid: true})); got[0].V != 5 || !got[0].Valid {
		t.Errorf("got %v", got)
	}
	if got := systemtest.Must(driftdb.Select[time.Time](ctx, db, "SELECT 5")); got[0] != time.UnixMilli(5).UTC() {
		t.Errorf("got %v", got)
	}
}

func TestSelectRefuses(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	type one struct{ A int }
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[one](ctx, db, "SELECT 1 AS b")), "", "b", "no field")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[one](ctx, db, "SELECT 1 AS b WHERE 0")), "", "b", "no field")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[one](ctx, db, "SELECT 1 AS a, 2 AS a")), "", "a", "two columns")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[one](ctx, db, "SELECT NULL AS a")), "", "a", "NULL")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[driftdb.Record](ctx, db, "SELECT 1 AS a, 2 AS a")), "", "a", "two columns")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[int](ctx, db, "SELECT 1, 2")), "", "", "2 columns")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[int](ctx, db, "SELECT 'x'")), "", "", "TEXT, not INTEGER")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[map[string]int](ctx, db, "SELECT 1")), "", "", "map[string]int")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[int](ctx, db, "SELECT ?")), "", "", "1 parameters, but 0 arguments")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[int](ctx, db, "SELECT 1", 1)), "", "", "0 parameters, but 1 arguments")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[int](ctx, db, "SELECT ?", struct{}{})), "", "", "argument 1")
	wantSchemaError(t, systemtest.ErrorOf(driftdb.Select[float64](ctx, db, "SELECT ?", math.NaN())), "", "", "NaN")
	for _, query := range []string{"SELEC 1", "SELECT 1; SELECT 2", "DELETE FROM sqlite_schema", ""} {
		if got, err := driftdb.Select[int](ctx, db, query); err == nil {
			t.Errorf("%q: got %v", query, got)
		}
	}
}

// In a transaction Select sees its changes, and may make some.
func TestSelectInTransaction(t *testing.T) {
	ctx := t.Context()
	db := newDB(t)
	users := systemtest.Define[user](t, db, "users")
	if err := db.Tx(ctx, func(tx *driftdb.Tx) error {
		systemtest.Must(users.In(tx).Create(ctx, user{Email: "a"}))
		emails, err := driftdb.Select[string](ctx, tx, "UPDATE users SET email = ? RETURNING email", "b")
		if err != nil || len(emails) != 1 || emails[0] != "b" {
			t.Errorf("got %v, %v", emails, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := users.FindOne(ctx, driftdb.Where{"email": "b"}); err != nil {
		t.Error(err)
	}
	if _, err := driftdb.Select[string](ctx, db, "UPDATE users SET email = 'c' RETURNING email"); err == nil {
		t.Error("a query outside of a transaction wrote")
	}
}
