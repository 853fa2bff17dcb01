package undo_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	. "github.com/driftdb/driftdb-go/internal/systemtest"
)

// refused undoes what cannot be undone. Nothing may have changed.
func refused(t *testing.T, db *driftdb.DB, cfg driftdb.Config, u driftdb.Undo, words ...string) (driftdb.UndoResult, error) {
	t.Helper()
	before, last := dump(t, cfg), db.Sequence()
	r, err := db.Undo(t.Context(), u)
	if err == nil {
		t.Fatalf("%+v was undone: %+v", u, r)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if dump(t, cfg) != before || db.Sequence() != last {
		t.Errorf("%v, and yet something was changed", err)
	}
	return r, err
}

// TestUndoConflict: all rows that have been changed since are listed, each as it was, as the
// transaction left it, and as it is; and Force makes them what they were.
func TestUndoConflict(t *testing.T) {
	cfg := Config(t)
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES(1, 'a', 'b'), (2, 'a', 'b'), (3, 'a', 'b'), (4, 'a', 'b'), (5, 'a', 'b'), (6, 'a', 'b'), (7, 'a', 'b')")
	want := dump(t, cfg)
	bad := tx(t, db, "UPDATE t SET a = ''; DELETE FROM t WHERE id = 4; INSERT INTO t VALUES(10, 'n', 'n'), (11, 'n', 'n')")
	tx(t, db, "UPDATE t SET b = 'since' WHERE id = 1")                                   // another column
	tx(t, db, "DELETE FROM t WHERE id = 2")                                              // gone
	tx(t, db, "UPDATE t SET id = 30, b = 'moved' WHERE id = 3")                          // elsewhere
	tx(t, db, "INSERT INTO t VALUES(4, 'other', 'row')")                                 // again
	tx(t, db, "UPDATE t SET a = 'x' WHERE id = 5")                                       // there and back
	tx(t, db, "UPDATE t SET a = '' WHERE id = 5")                                        //
	tx(t, db, "UPDATE t SET a = 'a' WHERE id = 6")                                       // mended by hand
	last := tx(t, db, "DELETE FROM t WHERE id = 10; UPDATE t SET a = 'N' WHERE id = 11") // 10 is as it was
	r, err := refused(t, db, cfg, one(bad), "5 rows were changed since")
	if !errors.Is(err, driftdb.ErrConflict) || r.Conflicting != 5 || r.Undone != 0 {
		t.Fatalf("%v, %+v", err, r)
	}
	type values = map[string]any
	type row struct {
		operation              driftdb.Operation
		before, after, current values
	}
	got := map[int64]row{}
	for _, c := range r.Conflicts {
		got[c.Key["id"].(int64)] = row{c.Operation, c.Before, c.After, c.Current}
		if c.Sequence <= bad || c.Time.IsZero() || c.Sequence > last {
			t.Errorf("%+v", c)
		}
	}
	for id, want := range map[int64]row{
		1:  {"update", values{"a": "a", "b": "b"}, values{"a": "", "b": "b"}, values{"a": "", "b": "since"}},
		2:  {"update", values{"id": int64(2), "a": "a", "b": "b"}, values{"id": int64(2), "a": "", "b": "b"}, nil},
		3:  {"update", values{"id": int64(3), "a": "a", "b": "b"}, values{"id": int64(3), "a": "", "b": "b"}, values{"id": int64(30), "a": "", "b": "moved"}},
		4:  {"delete", values{"id": int64(4), "a": "a", "b": "b"}, nil, values{"id": int64(4), "a": "other", "b": "row"}},
		11: {"insert", nil, values{"id": int64(11), "a": "n", "b": "n"}, values{"id": int64(11), "a": "N", "b": "n"}},
	} {
		if !reflect.DeepEqual(got[id], want) {
			t.Errorf("%d: %+v, want %+v", id, got[id], want)
		}
	}
	u := one(bad)
	u.Force = true
	undone(t, db, cfg, u, want)
}

// TestUndoMoved: a row whose identity has been changed since is a conflict, even if all its
// columns are as they were; one that the transaction did nothing to in the end is left alone.
func TestUndoMoved(t *testing.T) {
	cfg := Config(t)
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(a); INSERT INTO t(rowid, a) VALUES(1, 'a'), (2, 'b')")
	bad := tx(t, db, "UPDATE t SET a = 'x' WHERE rowid = 1; UPDATE t SET a = 'x' WHERE rowid = 2; UPDATE t SET a = 'b' WHERE rowid = 2; INSERT INTO t(rowid, a) VALUES(3, 'c')")
	tx(t, db, "UPDATE t SET rowid = 10, a = 'a' WHERE rowid = 1; UPDATE t SET rowid = 20 WHERE rowid = 2; UPDATE t SET rowid = 30 WHERE rowid = 3")
	r, _ := refused(t, db, cfg, one(bad), "2 rows were changed since")
	for _, c := range r.Conflicts {
		if id := c.Key["rowid"]; id == int64(1) && c.Current["a"] != "a" || id == int64(3) && c.Current["a"] != "c" || id == int64(2) {
			t.Errorf("%+v", c)
		}
	}
	u := one(bad)
	u.Force = true
	Must(db.Undo(t.Context(), u))
	if got := texts(t, db, "SELECT rowid || a FROM t ORDER BY rowid"); !slices.Equal(got, []string{"1a", "20b"}) {
		t.Errorf("the rows are %q", got)
	}
}

// TestUndoUnique: a unique value that another row has by now.
func TestUndoUnique(t *testing.T) {
	cfg := Config(t)
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, mail UNIQUE); INSERT INTO t VALUES(1, 'a'), (2, 'b')")
	bad := tx(t, db, "UPDATE t SET mail = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2")
	tx(t, db, "INSERT INTO t VALUES(3, 'a'), (4, 'b')")
	for _, force := range []bool{false, true} {
		u := one(bad)
		u.Force = force
		_, err := refused(t, db, cfg, u, "t", "mail", "another row has a value")
		if c, ok := errors.AsType[*driftdb.ConstraintError](err); !ok || c.Table != "t" || c.Column != "mail" || c.Kind != driftdb.ConstraintUnique {
			t.Errorf("%#v", err)
		}
	}
}

// TestUndoReferences: an undo leaves no reference to a row that does not exist, apart from
// those that were there.
func TestUndoReferences(t *testing.T) {
	cfg := Config(t)
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE p(id INTEGER PRIMARY KEY, code UNIQUE); CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p); CREATE TABLE w(k TEXT PRIMARY KEY, p REFERENCES p(code)) WITHOUT ROWID")
	conn := Must(db.SQL().Conn(t.Context()))
	defer conn.Close()
	for _, s := range []string{"PRAGMA foreign_keys=OFF", "INSERT INTO c VALUES(99, 99)", "INSERT INTO w VALUES('x', 'nobody')", "PRAGMA foreign_keys=ON"} {
		_, err := conn.ExecContext(t.Context(), s)
		Check(t, err)
	}
	first := tx(t, db, "INSERT INTO p VALUES(1, 'one'), (2, 'two')")
	second := tx(t, db, "INSERT INTO c VALUES(5, 1); INSERT INTO w VALUES('y', 'two')")
	u := one(first)
	u.Force = true
	r, err := refused(t, db, cfg, u, "would reference a row of table p")
	if !errors.Is(err, driftdb.ErrConflict) || len(r.Conflicts) != 2 {
		t.Fatalf("%v, %+v", err, r)
	}
	for _, c := range r.Conflicts {
		if c.Reason == "" || c.Table == "c" && c.Key["id"] != int64(5) {
			t.Errorf("%+v", c)
		}
	}
	if _, err := db.Undo(t.Context(), driftdb.Undo{From: first, To: second}); err != nil {
		t.Fatal(err)
	}
	if Count(t, db, "p") != 0 || Count(t, db, "c") != 1 || Count(t, db, "w") != 1 {
		t.Error("not everything was undone")
	}
}

// TestUndoSchema: which changes of the schema are refused, and which are taken back.
func TestUndoSchema(t *testing.T) {
	const made = "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1, 'a')"
	for name, c := range map[string]struct {
		did, since string
		words      []string // of the error; nil: it can be undone
	}{
		"drop":                 {"UPDATE t SET a = 1; DROP TABLE t", "", []string{"DROP TABLE t"}},
		"alter":                {"ALTER TABLE t ADD COLUMN b; ALTER TABLE t RENAME a TO c", "", []string{"ADD COLUMN b", "RENAME a TO c"}},
		"user_version":         {"PRAGMA user_version = 7", "", []string{"PRAGMA user_version = 7"}},
		"an index":             {"UPDATE t SET a = 2; CREATE INDEX i ON t(a); CREATE UNIQUE INDEX IF NOT EXISTS \"an index\" ON t(id, a)", "", nil},
		"a view and a trigger": {"CREATE VIEW v AS SELECT 1; CREATE TRIGGER x AFTER DELETE ON t BEGIN SELECT 1; END", "", nil},
		"a table":              {"CREATE TABLE n(id INTEGER PRIMARY KEY AUTOINCREMENT, b UNIQUE); INSERT INTO n(b) VALUES(1), (2); CREATE INDEX j ON n(b, id)", "", nil},
		"a table as":           {"CREATE TABLE n AS SELECT * FROM t", "", nil},
		"a table in use":       {"CREATE TABLE n(b); INSERT INTO n VALUES(1)", "INSERT INTO n VALUES(2)", []string{"created table n, which has other rows"}},
		"full text":            {"CREATE VIRTUAL TABLE n USING fts5(b); INSERT INTO n VALUES('one two')", "", nil},
		"full text in use":     {"CREATE VIRTUAL TABLE n USING fts5(b); INSERT INTO n VALUES('one two')", "INSERT INTO n VALUES('three')", []string{"created table n"}},
		"added later":          {"UPDATE t SET a = 2; DELETE FROM t; INSERT INTO t VALUES(1, 7), (2, 8)", "ALTER TABLE t ADD COLUMN b DEFAULT 5", nil},
		"renamed later":        {"UPDATE t SET a = 2", "ALTER TABLE t RENAME a TO b", []string{"RENAME a TO b", "later"}},
		"dropped later":        {"UPDATE t SET a = 2", "DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, a)", []string{"DROP TABLE t"}},
		"another later":        {"UPDATE t SET a = 2", "CREATE TABLE u(a); ALTER TABLE u RENAME TO v; DROP TABLE v", nil},
		"analyze":              {"UPDATE t SET a = 2; ANALYZE", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config(t)
			db := Open(t, cfg)
			tx(t, db, made)
			schema := "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'"
			before := Must(driftdb.Select[int64](t.Context(), db, schema))[0]
			bad := tx(t, db, c.did)
			if c.since != "" {
				tx(t, db, c.since)
			}
			if c.words != nil {
				u := one(bad)
				u.Force = true
				refused(t, db, cfg, u, c.words...)
				return
			}
			Must(db.Undo(t.Context(), one(bad)))
			if after := Must(driftdb.Select[int64](t.Context(), db, schema))[0]; after != before {
				t.Errorf("%d definitions, not %d", after, before)
			}
			if a := Must(driftdb.Select[string](t.Context(), db, "SELECT a FROM t")); !slices.Equal(a, []string{"a"}) {
				t.Errorf("t has %q", a)
			}
		})
	}
}

// TestUndoBarrier: what the log cannot describe.
func TestUndoBarrier(t *testing.T) {
	cfg := Config(t)
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
	bad := tx(t, db, "UPDATE t SET a = 2")
	Check(t, db.Vacuum(t.Context()))
	barrier := db.Sequence()
	refused(t, db, cfg, one(bad), "VACUUM may have renumbered rows")
	refused(t, db, cfg, one(barrier), "VACUUM may have renumbered rows")
	want := dump(t, cfg)
	undone(t, db, cfg, one(tx(t, db, "UPDATE t SET a = 3")), want)
}

// TestUndoInput: what cannot be asked for.
func TestUndoInput(t *testing.T) {
	cfg := Config(t)
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(id TEXT PRIMARY KEY, a); INSERT INTO t VALUES('x', 1)")
	bad := tx(t, db, "UPDATE t SET a = 2")
	for want, u := range map[string]driftdb.Undo{
		"needs the sequences":                  {From: bad},
		"end before they begin":                {From: bad, To: bad - 1},
		"there is no change":                   {From: bad, To: bad + 1},
		"there is no table nope":               {From: bad, To: bad, Table: "nope"},
		"needs Table":                          {From: bad, To: bad, Key: map[string]any{"id": "x"}},
		"the key of table t is (id), not (no)": {From: bad, To: bad, Table: "t", Key: map[string]any{"no": "x"}},
	} {
		refused(t, db, cfg, u, want)
	}
	for _, u := range []driftdb.Undo{
		{From: bad, To: bad, Table: "t", Key: map[string]any{"id": "y"}},
		{From: bad, To: bad, DryRun: true, Table: "T"},
	} {
		last := db.Sequence()
		r, err := db.Undo(t.Context(), u)
		if err != nil || r.Sequence != 0 || db.Sequence() != last || (r.Undone > 0) != u.DryRun {
			t.Errorf("%+v: %+v, %v", u, r, err)
		}
	}
	Check(t, db.Flush(t.Context()))
	reading, err := ReadOnly(t, cfg)
	Check(t, err)
	defer reading.Close()
	if _, err := reading.Undo(t.Context(), one(bad)); !errors.Is(err, driftdb.ErrReadOnly) {
		t.Error(err)
	}
	if err := db.Tx(t.Context(), func(*driftdb.Tx) error { return ErrorOf(db.Undo(t.Context(), one(bad))) }); err == nil || !strings.Contains(err.Error(), "wait for itself") {
		t.Error(err)
	}
}
