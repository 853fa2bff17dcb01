package undo_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	. "github.com/driftdb/driftdb-go/internal/systemtest"
)

func texts(t testing.TB, db *driftdb.DB, query string) []string {
	t.Helper()
	return Must(driftdb.Select[string](t.Context(), db, query))
}

// TestUndoPart: only one table, or only one row, whose key may have been changed.
func TestUndoPart(t *testing.T) {
	made := "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE u(k TEXT PRIMARY KEY, a); INSERT INTO t VALUES(1, 'a'), (2, 'a'), (3, 'a'); INSERT INTO u VALUES('x', 'a'), ('y', 'a')"
	did := "UPDATE t SET a = 'b'; UPDATE u SET a = 'b'; UPDATE t SET id = 10 WHERE id = 1; UPDATE t SET id = 11 WHERE id = 10; UPDATE u SET k = 'z' WHERE k = 'x'; CREATE INDEX i ON t(a)"
	key := func(name string, v any) map[string]any { return map[string]any{name: v} }
	for _, c := range []struct {
		table string
		key   map[string]any
		t, u  string
	}{
		{"t", nil, "1a 2a 3a", "yb zb"},
		{"U", nil, "2b 3b 11b", "xa ya"},
		{"t", key("id", 2), "2a 3b 11b", "yb zb"},
		{"t", key("ID", 1), "1a 2b 3b", "yb zb"},
		{"t", key("id", 11.0), "1a 2b 3b", "yb zb"},
		{"u", key("k", "x"), "2b 3b 11b", "xa yb"},
		{"u", key("k", "z"), "2b 3b 11b", "xa yb"},
	} {
		cfg := Config(t)
		db := Open(t, cfg)
		tx(t, db, made)
		bad := tx(t, db, did)
		u := driftdb.Undo{From: bad, To: bad, Table: c.table, Key: c.key}
		Must(db.Undo(t.Context(), u))
		gotT := strings.Join(texts(t, db, "SELECT id || a FROM t ORDER BY id"), " ")
		gotU := strings.Join(texts(t, db, "SELECT k || a FROM u ORDER BY k"), " ")
		if gotT != c.t || gotU != c.u {
			t.Errorf("%s %v: t is %s, u is %s; want %s and %s", c.table, c.key, gotT, gotU, c.t, c.u)
		}
	}
}

// TestUndoFullText: an index that has been written since agrees with its contents after an
// undo, and so does one that triggers would have written.
func TestUndoFullText(t *testing.T) {
	const external = `CREATE TABLE d(id INTEGER PRIMARY KEY, a);
		CREATE VIRTUAL TABLE f USING fts5(a, content='d', content_rowid='id');
		CREATE TRIGGER di AFTER INSERT ON d BEGIN INSERT INTO f(rowid, a) VALUES(new.id, new.a); END;
		CREATE TRIGGER dd AFTER DELETE ON d BEGIN INSERT INTO f(f, rowid, a) VALUES('delete', old.id, old.a); END;
		CREATE TRIGGER du AFTER UPDATE ON d BEGIN INSERT INTO f(f, rowid, a) VALUES('delete', old.id, old.a); INSERT INTO f(rowid, a) VALUES(new.id, new.a); END;
		INSERT INTO d VALUES(1, 'one'), (2, 'two')`
	for name, c := range map[string]struct{ made, did, since, table, contents string }{
		"its own":      {"CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f(rowid, a) VALUES(1, 'one'), (2, 'two')", "UPDATE f SET a = 'bad' WHERE rowid = 1; DELETE FROM f WHERE rowid = 2", "INSERT INTO f(rowid, a) VALUES(3, 'three')", "", "one two three"},
		"one table":    {"CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f(rowid, a) VALUES(1, 'one'), (2, 'two')", "UPDATE f SET a = 'bad' WHERE rowid = 1", "INSERT INTO f(rowid, a) VALUES(3, 'three')", "f", "one two three"},
		"external":     {external, "UPDATE d SET a = 'bad' WHERE id = 1; DELETE FROM d WHERE id = 2", "INSERT INTO d VALUES(3, 'three')", "", "one two three"},
		"its contents": {external, "UPDATE d SET a = 'bad' WHERE id = 1; DELETE FROM d WHERE id = 2", "", "d", "one two"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config(t)
			db := Open(t, cfg)
			tx(t, db, c.made)
			bad := tx(t, db, c.did)
			if c.since != "" {
				tx(t, db, c.since)
			}
			Must(db.Undo(t.Context(), driftdb.Undo{From: bad, To: bad, Table: c.table}))
			if got := strings.Join(texts(t, db, "SELECT a FROM f ORDER BY rowid"), " "); got != c.contents {
				t.Errorf("it contains %q, not %q", got, c.contents)
			}
			for range 2 { // as it is, and after more writes by the connections that knew it before
				Exec(t, db, "INSERT INTO f(f) VALUES('integrity-check')")
				for _, word := range strings.Fields(c.contents) {
					if found := texts(t, db, "SELECT a FROM f WHERE f MATCH '"+word+"'"); !slices.Contains(found, word) {
						t.Errorf("%s is not found: %q", word, found)
					}
				}
				if found := texts(t, db, "SELECT a FROM f WHERE f MATCH 'bad'"); len(found) != 0 {
					t.Errorf("bad is found: %q", found)
				}
				Must(db.Undo(t.Context(), one(tx(t, db, c.did))))
			}
		})
	}
	t.Run("contentless", func(t *testing.T) {
		cfg := Config(t)
		db := Open(t, cfg)
		tx(t, db, "CREATE VIRTUAL TABLE f USING fts5(a, content='')")
		bad := tx(t, db, "INSERT INTO f(rowid, a) VALUES(1, 'one')")
		tx(t, db, "INSERT INTO f(rowid, a) VALUES(2, 'two')")
		u := one(bad)
		u.Force = true
		if _, err := refused(t, db, cfg, u, "index f", "cannot be made anew"); !errors.Is(err, driftdb.ErrConflict) {
			t.Error(err)
		}
	})
	t.Run("rtree", func(t *testing.T) {
		cfg := Config(t)
		db := Open(t, cfg)
		tx(t, db, "CREATE VIRTUAL TABLE r USING rtree(id, a, b)")
		bad := tx(t, db, "INSERT INTO r VALUES(1, 1, 2)")
		tx(t, db, "INSERT INTO r VALUES(2, 1, 2)")
		for _, force := range []bool{false, true} {
			u := one(bad)
			u.Force = force
			if _, err := refused(t, db, cfg, u); !errors.Is(err, driftdb.ErrConflict) {
				t.Error(err)
			}
		}
	})
}

// TestUndoCounters: an AUTOINCREMENT counter does not go back, so that no number is given
// twice; a row that was deleted has its own again.
func TestUndoCounters(t *testing.T) {
	cfg := Config(t)
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a); INSERT INTO t(a) VALUES(1), (2)")
	Must(db.Undo(t.Context(), one(tx(t, db, "INSERT INTO t(a) VALUES(3), (4); DELETE FROM t WHERE id = 1"))))
	tx(t, db, "INSERT INTO t(a) VALUES(5)")
	if got := Must(driftdb.Select[int64](t.Context(), db, "SELECT id FROM t ORDER BY id")); !slices.Equal(got, []int64{1, 2, 5}) {
		t.Errorf("the rows are %d", got)
	}
}

// TestUndoWhole: any change stands for its whole transaction, and a range for all of its.
func TestUndoWhole(t *testing.T) {
	for _, send := range []bool{false, true} {
		cfg := Config(t)
		db := Open(t, cfg)
		tx(t, db, "CREATE TABLE t(a); INSERT INTO t VALUES(0)")
		want := dump(t, cfg)
		var last []int64
		for i := range 4 {
			last = append(last, tx(t, db, fmt.Sprintf("INSERT INTO t VALUES(%d); INSERT INTO t VALUES(%[1]d); INSERT INTO t VALUES(%[1]d)", i)))
			if send {
				Check(t, db.Flush(t.Context()))
			}
		}
		if send {
			Must(db.Snapshot(t.Context()))
			Check(t, db.Flush(t.Context()))
			if first := Sequences(t, db.Changes(t.Context(), driftdb.ChangeQuery{})); len(first) == 0 || first[0] != 1 {
				t.Fatalf("%d", first)
			}
		}
		r := Must(db.Undo(t.Context(), driftdb.Undo{From: last[1] - 1, To: last[2] - 1}))
		if r.From != last[0]+1 || r.To != last[2] || r.Transactions != 2 || r.Undone != 6 {
			t.Errorf("%+v of %d", r, last)
		}
		undone(t, db, cfg, driftdb.Undo{From: last[0] - 2, To: r.Sequence}, want)
	}
}

// TestUndoTrimmed: the transaction, and what came after it, are in the bucket only.
func TestUndoTrimmed(t *testing.T) {
	cfg := Config(t)
	cfg.MaxBatchSize = 7
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); CREATE TABLE w(k, l, v, PRIMARY KEY(k, l)) WITHOUT ROWID; CREATE TABLE h(v)")
	for i := range 20 {
		tx(t, db, fmt.Sprintf("INSERT INTO t VALUES(%d, 'a', x'00'); INSERT INTO w VALUES(%[1]d, 'k', 0.5); INSERT INTO h VALUES(%[1]d)", i))
	}
	want := dump(t, cfg)
	bad := tx(t, db, "UPDATE t SET a = NULL; DELETE FROM w; UPDATE h SET rowid = rowid + 100, v = -v")
	tx(t, db, "INSERT INTO t VALUES(100, 1, 2)")
	tx(t, db, "DELETE FROM t WHERE id = 100")
	for range 3 {
		Must(db.Snapshot(t.Context()))
		Check(t, db.Flush(t.Context()))
	}
	if rows := Must(driftdb.Select[int64](t.Context(), db, "SELECT min(sequence) FROM _driftdb_log"))[0]; rows <= bad {
		t.Fatalf("the log still begins at %d", rows)
	}
	undone(t, db, cfg, one(bad-1), want)
}

// TestUndoGone: the transaction is in the bucket no longer.
func TestUndoGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config(t)
		cfg.Retention = 24 * time.Hour
		db := Open(t, cfg)
		bad := tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1, 1)")
		for i := range 6 {
			tx(t, db, fmt.Sprintf("INSERT INTO t(a) VALUES(%d)", i))
			Must(db.Snapshot(t.Context()))
			time.Sleep(25 * time.Hour)
			_, _, err := db.CollectGarbage(t.Context())
			Check(t, err)
		}
		refused(t, db, cfg, one(bad), "does not reach back that far", "the earliest point is", "and the latest")
		Must(db.Undo(t.Context(), one(db.Sequence())))
	})
}

// TestUndoAlone: without a store, an undo reaches as far as the log.
func TestUndoAlone(t *testing.T) {
	cfg := Config(t)
	cfg.Store = nil
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)")
	want := dump(t, cfg)
	undone(t, db, cfg, one(tx(t, db, "UPDATE t SET a = 2")), want)
}

// TestUndoLarge: an undo that the log cannot describe says so.
func TestUndoLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 60 MB")
	}
	cfg := Config(t)
	db := Open(t, cfg, Ends(nil))
	tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
	first := db.Sequence() + 1
	for i := range 30 {
		tx(t, db, fmt.Sprintf("INSERT INTO t VALUES(%d, zeroblob(1000000))", i))
	}
	r := Must(db.Undo(t.Context(), driftdb.Undo{From: first, To: db.Sequence()}))
	if r.Undone != 30 || r.Unlogged == "" || len(r.SQL) != 30 || Count(t, db, "t") != 0 {
		t.Errorf("%d rows, %q", r.Undone, r.Unlogged)
	}
	refused(t, db, cfg, one(r.Sequence), "24 MiB")
}

// TestUndoText: only so many statements are kept.
func TestUndoText(t *testing.T) {
	cfg := Config(t)
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
	r := Must(db.Undo(t.Context(), driftdb.Undo{DryRun: true, From: 2, To: tx(t, db, "INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500) SELECT i, i FROM n")}))
	if r.Undone != 1500 || len(r.SQL) != 1001 || r.SQL[1000] != "-- and 500 more statements" {
		t.Errorf("%d undone, %d statements: %s", r.Undone, len(r.SQL), r.SQL[len(r.SQL)-1])
	}
	if r.SQL[0] != `DELETE FROM "t" WHERE "id"=1500;` { // the newest first
		t.Error(r.SQL[0])
	}
}

// TestUndoAmongWriters undoes the newest transaction, again and again, while others write the
// same rows: whatever was changed in between is a conflict, and no write is lost.
func TestUndoAmongWriters(t *testing.T) {
	cfg := Config(t)
	cfg.BusyTimeout = 10 * time.Second
	db := Open(t, cfg)
	made := tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER NOT NULL); INSERT INTO t VALUES(1, 0), (2, 0), (3, 0), (4, 0)")
	var all sync.WaitGroup
	stop := make(chan struct{})
	var added [2]int64
	for i := range 2 {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				query := fmt.Sprintf("UPDATE t SET n = n + 1 WHERE id = %d", n%4+1)
				var err error
				if i == 0 {
					_, err = db.Exec(context.Background(), query)
				} else {
					_, err = db.SQL().ExecContext(context.Background(), query)
				}
				if err != nil {
					t.Error(err)
					return
				}
				added[i]++
			}
		})
	}
	Eventually(t, "a first write", func() bool { return db.Sequence() > made })
	undone, conflicts := map[int64]int64{}, 0
	for len(undone) < 20 || conflicts < 5 {
		last := db.Sequence()
		r, err := db.Undo(t.Context(), one(last))
		switch {
		case err == nil:
			undone[r.Sequence] = last
		case errors.Is(err, driftdb.ErrConflict):
			conflicts++
		default:
			close(stop)
			all.Wait()
			t.Fatal(err)
		}
	}
	close(stop)
	all.Wait()
	t.Logf("%d undone, %d conflicts, %d writes", len(undone), conflicts, added[0]+added[1])
	type write struct{ sequence, before, after int64 }
	newest := map[int64]write{} // by row
	for c, err := range db.Changes(t.Context(), driftdb.ChangeQuery{Table: "t"}) {
		Check(t, err)
		id := c.Key["id"].(int64)
		w := write{sequence: c.Sequence, after: c.After["n"].(int64)}
		w.before, _ = c.Before["n"].(int64)
		was := newest[id]
		if what, ok := undone[c.Sequence]; ok && (was.sequence != what || w.before != was.after || w.after != was.before) {
			t.Errorf("change %d is to undo change %d, and undoes %+v: %+v", c.Sequence, what, was, w)
		}
		newest[id] = w
	}
}

// TestUndoClose: Close ends an undo that is writing, which changes nothing then, unless it is
// done within the time that Close gives it.
func TestUndoClose(t *testing.T) {
	cfg := Config(t)
	connected := make(chan struct{}, 100)
	cfg.OnConnect = func(context.Context, *driftdb.Registrar) error {
		connected <- struct{}{}
		return nil
	}
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
	first := db.Sequence() + 1
	for i := range 4 {
		tx(t, db, fmt.Sprintf("INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i + %d, i FROM n", i*20000))
	}
	last := db.Sequence()
	Must(driftdb.Select[int64](t.Context(), db, "SELECT 1")) // the connection that will read the log
	for len(connected) > 0 {
		<-connected
	}
	done := InGoroutine(func() error { return ErrorOf(db.Undo(context.Background(), driftdb.Undo{From: first, To: last})) })
	<-connected // for the undo alone
	Within(t, "Close", func() { Check(t, db.Close()) })
	err := <-done
	want := int64(0)
	if err != nil {
		want = 80000
	}
	if err != nil && !errors.Is(err, driftdb.ErrClosed) {
		t.Errorf("the undo ended with %v", err)
	}
	if n := Count(t, Open(t, cfg), "t"); n != want {
		t.Errorf("%d rows after an undo that ended with %v", n, err)
	}
}

// TestUndoSparesLaterRows: a row that was inserted later stays, though it once had the key of a
// row that is taken back, or came to where one of those has been.
func TestUndoSparesLaterRows(t *testing.T) {
	for name, c := range map[string]struct {
		did, since string
		force      bool
		want       string
	}{
		"after a deletion":           {"DELETE FROM t WHERE id = 1", "INSERT INTO t VALUES(1, 'later'); UPDATE t SET id = 9 WHERE id = 1", false, "1was 9later"},
		"after a later deletion":     {"UPDATE t SET a = 'bad' WHERE id = 1", "DELETE FROM t; INSERT INTO t VALUES(1, 'later'); UPDATE t SET id = 9 WHERE id = 1", true, "1was 9later"},
		"where a row had been moved": {"UPDATE t SET a = 'bad' WHERE id = 1", "UPDATE t SET id = 9 WHERE id = 1; DELETE FROM t; INSERT INTO t VALUES(9, 'later')", true, "1was 9later"},
		"a row that was moved goes":  {"UPDATE t SET a = 'bad' WHERE id = 1", "UPDATE t SET id = 9 WHERE id = 1; UPDATE t SET id = 10 WHERE id = 9", true, "1was"},
	} {
		cfg := Config(t)
		db := Open(t, cfg)
		tx(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES(1, 'was')")
		bad := tx(t, db, c.did)
		tx(t, db, c.since)
		u := one(bad)
		if c.force {
			if _, err := db.Undo(t.Context(), u); !errors.Is(err, driftdb.ErrConflict) {
				t.Errorf("%s: %v", name, err)
			}
		}
		u.Force = c.force
		if _, err := db.Undo(t.Context(), u); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := strings.Join(texts(t, db, "SELECT id || a FROM t ORDER BY id"), " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
