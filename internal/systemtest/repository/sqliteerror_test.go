package repository_test

import (
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// TestSQLiteError sees to it that SQLite's error is a *driftdb.Error on each way to it, and
// says the same on all of them.
func TestSQLiteError(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "app.sqlite")
	db := systemtest.Open(t, driftdb.Config{Name: "app", Path: path, BusyTimeout: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	db.SQL().SetMaxOpenConns(1) // the one whose settings are changed below
	type entry struct {
		driftdb.Base
		V string `db:",unique"`
	}
	entries := systemtest.Define[entry](t, db, "entries")
	systemtest.Must(entries.Create(ctx, entry{V: "there"}))

	const insert = `INSERT INTO entries (id, createdAt, updatedAt, v) VALUES (hex(randomblob(8)), 0, 0, ?) RETURNING v`
	writes := map[string]func(query string, args ...any) error{
		"Exec": func(q string, args ...any) error { return systemtest.ErrorOf(db.Exec(ctx, q, args...)) },
		"Tx": func(q string, args ...any) error {
			return db.Tx(ctx, func(tx *driftdb.Tx) error { return systemtest.ErrorOf(tx.Exec(ctx, q, args...)) })
		},
		"SQL":       func(q string, args ...any) error { return systemtest.ErrorOf(db.SQL().ExecContext(ctx, q, args...)) },
		"SQL Query": func(q string, args ...any) error { return drain(db.SQL().QueryContext(ctx, q, args...)) },
		"SQL Tx":    func(q string, args ...any) error { return inSQLTx(t, db.SQL(), q, args...) },
		"SQL Prepare": func(q string, args ...any) error {
			st, err := db.SQL().PrepareContext(ctx, q)
			if err != nil {
				return err
			}
			defer st.Close()
			return errors.Join(systemtest.ErrorOf(st.ExecContext(ctx, args...)), drain(st.QueryContext(ctx, args...)))
		},
	}
	reads := map[string]func(query string) error{
		"Select": func(q string) error { return systemtest.ErrorOf(driftdb.Select[any](ctx, db, q)) },
		"ReadTx": func(q string) error {
			return db.ReadTx(ctx, func(tx *driftdb.Tx) error { return systemtest.ErrorOf(driftdb.Select[any](ctx, tx, q)) })
		},
	}
	all := func(want driftdb.Error, query string, args ...any) {
		t.Helper()
		for way, write := range writes {
			wantSQLite(t, way, write(query, args...), want)
		}
		if len(args) == 0 {
			for way, read := range reads {
				wantSQLite(t, way, read(query), want)
			}
		}
	}

	all(driftdb.Error{Code: lib.SQLITE_ERROR, ExtendedCode: lib.SQLITE_ERROR, Message: `near "SELEC": syntax error`}, "SELEC 1")

	unique := driftdb.Error{Code: lib.SQLITE_CONSTRAINT, ExtendedCode: lib.SQLITE_CONSTRAINT_UNIQUE, Message: "UNIQUE constraint failed: entries.v"}
	all(unique, insert, "there")
	wantSQLite(t, "repository", systemtest.ErrorOf(entries.Create(ctx, entry{V: "there"})), unique)

	readOnly := driftdb.Error{Code: lib.SQLITE_READONLY, ExtendedCode: lib.SQLITE_READONLY, Message: "attempt to write a readonly database"}
	for way, read := range reads {
		wantSQLite(t, way, read("DELETE FROM entries RETURNING v"), readOnly)
	}

	reader := systemtest.Open(t, driftdb.Config{Name: "app", Path: path, ReadOnly: true})
	wantSQLite(t, "SQL, read-only", systemtest.ErrorOf(reader.SQL().Exec("DELETE FROM entries")), readOnly)
	wantSQLite(t, "SQL Query, read-only", drain(reader.SQL().Query("DELETE FROM entries RETURNING v")), readOnly)

	other := systemtest.Must(sql.Open("sqlite", path))
	defer other.Close()
	other.SetMaxOpenConns(1)
	systemtest.Must(other.Exec("BEGIN IMMEDIATE"))
	busy := driftdb.Error{Code: lib.SQLITE_BUSY, ExtendedCode: lib.SQLITE_BUSY, Message: "database is locked"}
	all(busy, insert, "new")
	wantSQLite(t, "repository", systemtest.ErrorOf(entries.Create(ctx, entry{V: "new"})), busy)
	wantSQLite(t, "Define", systemtest.ErrorOf(driftdb.Define[struct{ driftdb.Base }](ctx, db, "more")), busy)
	systemtest.Must(other.Exec("ROLLBACK"))

	systemtest.Exec(t, db, "PRAGMA max_page_count=1") // is the number of pages that there are
	systemtest.Must(db.SQL().Exec("PRAGMA max_page_count=1"))
	full := driftdb.Error{Code: lib.SQLITE_FULL, ExtendedCode: lib.SQLITE_FULL, Message: "database or disk is full"}
	all(full, insert, strings.Repeat("x", 1<<20))
	wantSQLite(t, "repository", systemtest.ErrorOf(entries.Create(ctx, entry{V: strings.Repeat("x", 1<<20)})), full)

	systemtest.Must(other.Exec("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql='garbage' WHERE name='entries'; PRAGMA schema_version=1000"))
	corrupt := driftdb.Error{Code: lib.SQLITE_CORRUPT, ExtendedCode: lib.SQLITE_CORRUPT, Message: "malformed database schema (entries)"}
	all(corrupt, "SELECT count(*) FROM entries")
	wantSQLite(t, "IntegrityCheck", db.IntegrityCheck(ctx), corrupt)
}

// wantSQLite checks what err has of SQLite, and that SQL's has the driver's error, too.
func wantSQLite(t *testing.T, way string, err error, want driftdb.Error) {
	t.Helper()
	got, ok := errors.AsType[*driftdb.Error](err)
	if !ok || got.Code != want.Code || got.ExtendedCode != want.ExtendedCode || got.Message != want.Message {
		t.Errorf("%s: %v has %#v, want %#v", way, err, got, want)
		return
	}
	if inner, ok := errors.AsType[*driver.Error](err); strings.HasPrefix(way, "SQL") && (!ok || inner.Code() != want.ExtendedCode) {
		t.Errorf("%s: %v has no error of the driver's", way, err)
	}
}

// drain reads rows to their end.
func drain(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	for rows.Next() { // what they are does not matter
	}
	return errors.Join(rows.Err(), rows.Close())
}

func inSQLTx(t *testing.T, db *sql.DB, query string, args ...any) error {
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(t.Context(), query, args...); err != nil {
		return err
	}
	return tx.Commit()
}
