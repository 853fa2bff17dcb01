package undo_test

import (
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	. "github.com/driftdb/driftdb-go/internal/systemtest"
)

// tx runs a script in one transaction and returns its sequence.
func tx(t testing.TB, db *driftdb.DB, script string) int64 {
	t.Helper()
	Check(t, db.Tx(t.Context(), func(tx *driftdb.Tx) error {
		_, err := tx.Exec(t.Context(), script)
		return err
	}))
	return db.Sequence()
}

func dump(t testing.TB, cfg driftdb.Config) string {
	t.Helper()
	return Must(dbtest.Dump(cfg.Path))
}

// one undoes one transaction.
func one(sequence int64) driftdb.Undo { return driftdb.Undo{From: sequence, To: sequence} }

// undone undoes, and undoes that, and does it again: each time the state must be the right
// one.
func undone(t *testing.T, db *driftdb.DB, cfg driftdb.Config, u driftdb.Undo, want string) driftdb.UndoResult {
	t.Helper()
	before := dump(t, cfg)
	var r driftdb.UndoResult
	for i, state := range []string{want, before, want} {
		var err error
		if i > 0 {
			u = one(r.Sequence)
		}
		if r, err = db.Undo(t.Context(), u); err != nil {
			t.Fatalf("undo %d: %v", i, err)
		}
		if got := dump(t, cfg); got != state {
			t.Fatalf("undo %d leaves another state:\n%s", i, dbtest.Diff(state, got))
		}
		if r.Sequence != db.Sequence() || r.Unlogged != "" {
			t.Fatalf("undo %d: %+v, the last change is %d", i, r, db.Sequence())
		}
	}
	return r
}

// TestUndo: what one transaction did is taken back exactly, in tables of all kinds.
func TestUndo(t *testing.T) {
	for name, c := range map[string]struct{ made, did string }{
		"update":             {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, b REAL); INSERT INTO t VALUES(1, 'x', 5), (2, NULL, 0.1)", "UPDATE t SET a = x'00', b = b + 1"},
		"all":                {"CREATE TABLE t(a); INSERT INTO t(rowid, a) VALUES(7, 1), (9, '1'), (11, 1.0)", "DELETE FROM t WHERE rowid = 7; INSERT INTO t VALUES(3); UPDATE t SET a = 'y' WHERE rowid = 9; UPDATE t SET rowid = 100 WHERE rowid = 11"},
		"swapped keys":       {"CREATE TABLE t(k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO t VALUES('a', 1), ('b', 2)", "UPDATE t SET k = 'c' WHERE k = 'a'; UPDATE t SET k = 'a' WHERE k = 'b'; UPDATE t SET k = 'b' WHERE k = 'c'"},
		"swapped values":     {"CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE); INSERT INTO t VALUES(1, 'a'), (2, 'b'), (3, 'c')", "UPDATE t SET u = NULL; UPDATE t SET u = 'b' WHERE id = 1; UPDATE t SET u = 'c' WHERE id = 2; UPDATE t SET u = 'a' WHERE id = 3"},
		"text key":           {"CREATE TABLE t(k TEXT PRIMARY KEY, v); INSERT INTO t VALUES('a', 1), ('b', 2)", "UPDATE t SET k = 'z' WHERE k = 'a'; DELETE FROM t WHERE k = 'b'; INSERT INTO t VALUES('b', 3)"},
		"composite":          {"CREATE TABLE t(a, b, c, PRIMARY KEY(b, a)) WITHOUT ROWID; INSERT INTO t VALUES(1, 2, 3), (2, 1, 3)", "UPDATE t SET c = 4 WHERE a = 1; DELETE FROM t WHERE a = 2"},
		"generated":          {"CREATE TABLE t(id INTEGER PRIMARY KEY, a, g AS (a * 2), s AS (a + 1) STORED UNIQUE); INSERT INTO t(id, a) VALUES(1, 1), (2, 2)", "UPDATE t SET a = a + 10; DELETE FROM t WHERE id = 2"},
		"replace":            {"CREATE TABLE t(id INTEGER PRIMARY KEY, u UNIQUE, v); INSERT INTO t VALUES(1, 'a', 1), (2, 'b', 2)", "REPLACE INTO t VALUES(2, 'a', 3)"},
		"cascade":            {"CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE); CREATE TABLE d(p REFERENCES p ON DELETE SET NULL); INSERT INTO p VALUES(1), (2); INSERT INTO c VALUES(1, 1), (2, 2); INSERT INTO d VALUES(1), (2)", "DELETE FROM p WHERE id = 1"},
		"trigger":            {"CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE TABLE l(x); CREATE TRIGGER tr AFTER UPDATE ON t BEGIN INSERT INTO l VALUES(old.v); END; CREATE TRIGGER td AFTER DELETE ON l BEGIN DELETE FROM t; END; INSERT INTO t VALUES(1, 'a')", "UPDATE t SET v = 'b'"},
		"nothing in the end": {"CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 2); INSERT INTO t VALUES(2, 3)", "UPDATE t SET a = 5 WHERE a = 1; UPDATE t SET a = 1 WHERE a = 5; DELETE FROM t WHERE a = 2"},
		"check":              {"CREATE TABLE t(id INTEGER PRIMARY KEY, a CHECK(a > 0)); INSERT INTO t VALUES(1, 1); PRAGMA user_version = 1", "UPDATE t SET a = 2"},
		"strict":             {"CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b ANY, c BLOB) STRICT; INSERT INTO t VALUES(1, 1, '1', x'01')", "UPDATE t SET a = NULL, b = 1, c = NULL; INSERT INTO t VALUES(2, 2, 2.0, x'02')"},
		"collation":          {"CREATE TABLE t(k TEXT COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO t VALUES('a', 1)", "UPDATE t SET k = 'A', v = 2"},
		"fts5":               {"CREATE VIRTUAL TABLE f USING fts5(a, b); INSERT INTO f VALUES('one two', 'three'), ('four', 'five')", "DELETE FROM f WHERE rowid = 1; UPDATE f SET a = 'six' WHERE rowid = 2; INSERT INTO f VALUES('seven', 'eight')"},
		"fts5 contentless":   {"CREATE VIRTUAL TABLE f USING fts5(a, content=''); INSERT INTO f(rowid, a) VALUES(1, 'one two')", "INSERT INTO f(rowid, a) VALUES(2, 'three')"},
		"fts5 external":      {"CREATE TABLE d(id INTEGER PRIMARY KEY, a); CREATE VIRTUAL TABLE f USING fts5(a, content='d', content_rowid='id'); CREATE TRIGGER di AFTER INSERT ON d BEGIN INSERT INTO f(rowid, a) VALUES(new.id, new.a); END; CREATE TRIGGER dd AFTER DELETE ON d BEGIN INSERT INTO f(f, rowid, a) VALUES('delete', old.id, old.a); END; INSERT INTO d VALUES(1, 'one'), (2, 'two')", "DELETE FROM d WHERE id = 1; INSERT INTO d VALUES(3, 'three')"},
		"rtree":              {"CREATE VIRTUAL TABLE r USING rtree(id, a, b); INSERT INTO r VALUES(1, 0, 1)", "INSERT INTO r VALUES(2, 3, 4); DELETE FROM r WHERE id = 1"},
		"created index":      {"CREATE TABLE t(a); INSERT INTO t VALUES(1)", "UPDATE t SET a = 2"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config(t)
			db := Open(t, cfg)
			tx(t, db, c.made)
			want := dump(t, cfg)
			r := undone(t, db, cfg, one(tx(t, db, c.did)), want)
			if r.Undone == 0 || len(r.SQL) < r.Undone || r.Transactions != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}
