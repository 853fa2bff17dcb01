package systemtest

import (
	"fmt"
	"testing"

	"github.com/driftdb/driftdb-go"
)

// Check fails the test if there is an error.
func Check(b testing.TB, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

// LoadRow is a row in tests with many writers.
type LoadRow struct {
	driftdb.Base
	N int64 `db:",unique"`
}

// Person is the row that random tests write through repositories.
type Person struct {
	driftdb.Base
	Name  string
	Email *string `db:",unique"`
	Age   *int64  `db:",index"`
	Score float64 `db:",omitzero,default=0.5"`
	Data  []byte
}

// Some creates a table and puts n rows into it, each in a transaction.
func Some(t testing.TB, db *driftdb.DB, table string, n int) {
	t.Helper()
	Exec(t, db, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s(id INTEGER PRIMARY KEY, v TEXT)", table))
	for i := range n {
		Exec(t, db, fmt.Sprintf("INSERT INTO %s(v) VALUES(?)", table), fmt.Sprintf("value %d", i))
	}
}

// Count returns the number of rows in a table.
func Count(t testing.TB, db *driftdb.DB, table string) int64 {
	t.Helper()
	n, err := driftdb.Select[int64](t.Context(), db, "SELECT count(*) FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	return n[0]
}

// Exec runs a script that must succeed.
func Exec(t testing.TB, db *driftdb.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// OpenError returns the error of Open. It closes the database if there is none.
func OpenError(t testing.TB, cfg driftdb.Config) error {
	db, err := driftdb.Open(t.Context(), cfg)
	if err == nil {
		Check(t, db.Close())
	}
	return err
}

// ReadOnly opens cfg for reading, until the test ends.
func ReadOnly(t testing.TB, cfg driftdb.Config) (*driftdb.DB, error) {
	t.Helper()
	cfg.ReadOnly = true
	db, err := driftdb.Open(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return db, err
}

// MustRead opens a database read-only.
func MustRead(t testing.TB, cfg driftdb.Config) *driftdb.DB {
	t.Helper()
	db, err := ReadOnly(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// Define calls driftdb.Define, which must succeed.
func Define[T any](tb testing.TB, db *driftdb.DB, table string) *driftdb.Repository[T] {
	tb.Helper()
	repo, err := driftdb.Define[T](tb.Context(), db, table)
	if err != nil {
		tb.Fatal(err)
	}
	return repo
}

// Must returns v, and panics if there is an error.
func Must[V any](v V, err error) V {
	if err != nil {
		panic(err)
	}
	return v
}

// ErrorOf returns the error of a call and drops its other result.
func ErrorOf[V any](_ V, err error) error { return err }
