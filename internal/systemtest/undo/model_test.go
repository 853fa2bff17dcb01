//go:build !race

package undo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"pgregory.net/rapid"
)

// shapes are tables with rows of every kind of identity. All have the columns id (or only a
// rowid), a, b and a unique u.
var shapes = []struct{ name, key, definition string }{
	{"hidden", "rowid", "CREATE TABLE hidden(a, b, u UNIQUE)"},
	{"alias", "id", "CREATE TABLE alias(id INTEGER PRIMARY KEY, a, b, u UNIQUE)"},
	{"counted", "id", "CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, a, b REAL, u UNIQUE)"},
	{"text", "id", "CREATE TABLE text(id TEXT PRIMARY KEY, a, b, u UNIQUE)"},
	{"pair", "id", "CREATE TABLE pair(id, x DEFAULT 0, a, b INT, u UNIQUE, PRIMARY KEY(x, id)) WITHOUT ROWID"},
	{"computed", "id", "CREATE TABLE computed(id INTEGER PRIMARY KEY, a, b, u, g AS (coalesce(a, 'null') || u) STORED UNIQUE)"},
	{"parent", "id", "CREATE TABLE parent(id INTEGER PRIMARY KEY, a, b, u UNIQUE)"},
	{"child", "id", "CREATE TABLE child(id INTEGER PRIMARY KEY, a REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, b, u UNIQUE REFERENCES parent(u) ON DELETE SET NULL ON UPDATE CASCADE)"},
}

// watched counts, by trigger, the changes of each parent.
const watched = `CREATE TABLE counter(slot INTEGER PRIMARY KEY, n);
INSERT INTO counter VALUES(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0);
CREATE TRIGGER count_updates AFTER UPDATE ON parent BEGIN UPDATE counter SET n = n + 1 WHERE slot = old.id; END;
CREATE TRIGGER count_deletes AFTER DELETE ON child BEGIN UPDATE counter SET n = n + 10 WHERE slot = old.id; END`

// Every statement stays within one of two groups of keys and of unique values, so that what
// one group does cannot matter to the other.
const groupSize = 4

type generator struct{ *rapid.T }

func (g generator) of(values ...string) string {
	return rapid.SampledFrom(values).Draw(g.T, "pick")
}

func (g generator) value() string {
	return g.of("NULL", "1", "1.0", "'1'", "'x'", "x'00ff'", "0.1", "9007199254740993", "''", "CAST(x'ff00' AS TEXT)")
}

func (g generator) slot(group int) int {
	return group*groupSize + rapid.IntRange(0, groupSize-1).Draw(g.T, "slot")
}

func (g generator) unique(group int) string {
	return g.of("NULL", fmt.Sprintf("'%d-a'", group), fmt.Sprintf("'%d-b'", group), fmt.Sprintf("'%d-c'", group))
}

// statement returns a random statement within a group. Without moves, no key changes.
func (g generator) statement(group int, moves bool) string {
	shape := rapid.SampledFrom(shapes).Draw(g.T, "table")
	slot := g.slot(group)
	key := func(slot int) string {
		if shape.name == "text" {
			return fmt.Sprintf("'k%d'", slot)
		}
		return fmt.Sprint(slot)
	}
	a := g.value()
	if shape.name == "child" {
		a = g.of("NULL", key(g.slot(group)))
	}
	where := fmt.Sprintf(" WHERE %s = %s", shape.key, key(slot))
	switch kind := rapid.IntRange(0, 9).Draw(g.T, "kind"); {
	case kind < 4:
		columns, values := shape.key, key(slot)
		if shape.name == "text" {
			columns, values = "rowid, id", fmt.Sprint(slot, ", ", values)
		}
		return fmt.Sprintf("%s INTO %s(%s, a, b, u) VALUES(%s, %s, %s, %s)", g.of("INSERT", "INSERT OR IGNORE", "REPLACE"), shape.name, columns, values, a, g.value(), g.unique(group))
	case kind < 6:
		return fmt.Sprintf("UPDATE %s SET %s%s", shape.name, g.of("a = "+a, "b = "+g.value(), "a = "+a+", b = "+g.value()), where)
	case kind == 6:
		return fmt.Sprintf("UPDATE OR REPLACE %s SET u = %s%s", shape.name, g.unique(group), where)
	case kind == 7 && moves:
		return fmt.Sprintf("UPDATE %s %s SET %s = %s%s", g.of("", "OR REPLACE"), shape.name, shape.key, key(g.slot(group)), where)
	case kind == 8:
		between := fmt.Sprintf(" WHERE %s BETWEEN %s AND %s", shape.key, key(group*groupSize), key(group*groupSize+groupSize-1))
		return fmt.Sprintf("UPDATE OR IGNORE %s SET %s%s", shape.name, g.of("a = NULL", "b = 7", "u = NULL"), between)
	}
	return fmt.Sprintf("DELETE FROM %s%s", shape.name, where)
}

// transactions returns random transactions. A nil one stands for a flush.
func (g generator) transactions(n int, moves bool, groups ...int) (out [][]string) {
	for range rapid.IntRange(1, n).Draw(g.T, "transactions") {
		if rapid.IntRange(0, 9).Draw(g.T, "flush") == 0 {
			out = append(out, nil)
		}
		var tx []string
		for range rapid.IntRange(1, 5).Draw(g.T, "statements") {
			tx = append(tx, g.statement(rapid.SampledFrom(groups).Draw(g.T, "group"), moves))
		}
		out = append(out, tx)
	}
	return out
}

// world is a database of a run.
type world struct {
	*rapid.T
	db   *driftdb.DB
	path string
}

func newWorld(t *rapid.T, path string) *world {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := driftdb.Open(context.Background(), driftdb.Config{Name: "app", Path: path, Store: objstore.Mem(), ManualSync: true})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, db, path}
	for _, s := range shapes {
		w.must(w.db.Exec(context.Background(), s.definition))
	}
	w.must(w.db.Exec(context.Background(), watched))
	return w
}

func (w *world) must(_ any, err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// run runs transactions. A statement that violates a constraint does nothing. It returns
// the first and the last change; 0 if there were none.
func (w *world) run(list [][]string) (from, to int64) {
	ctx := context.Background()
	before := w.db.Sequence()
	for _, tx := range list {
		if tx == nil {
			w.must(nil, w.db.Flush(ctx))
			continue
		}
		w.must(nil, w.db.Tx(ctx, func(t *driftdb.Tx) error {
			for _, s := range tx {
				_, err := t.Exec(ctx, s)
				if e, ok := errors.AsType[*driftdb.ConstraintError](err); err != nil && !ok {
					return fmt.Errorf("%s: %w (%v)", s, err, e)
				}
			}
			return nil
		}))
	}
	if to = w.db.Sequence(); to == before {
		return 0, 0
	}
	return before + 1, to
}

// dump is the state of the database without counters, which never go back.
func (w *world) dump() string {
	text, err := dbtest.Dump(w.path)
	w.must(nil, err)
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "sqlite_sequence|") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// rows returns all rows by table and identity.
func (w *world) rows() map[string]string {
	out := map[string]string{}
	read := func(table, key, columns string) {
		var list []string
		for c := range strings.SplitSeq(columns, ", ") {
			list = append(list, "typeof("+c+") || quote("+c+")")
		}
		rows, err := w.db.SQL().Query("SELECT quote(" + key + "), " + strings.Join(list, "||','||") + " FROM " + table)
		w.must(nil, err)
		defer rows.Close()
		for rows.Next() {
			var id, text string
			w.must(nil, rows.Scan(&id, &text))
			out[table+" "+id] = text
		}
		w.must(nil, rows.Err())
	}
	for _, s := range shapes {
		key, columns := "rowid", "id, a, b, u"
		switch s.name {
		case "pair":
			key = "id"
		case "hidden":
			columns = "a, b, u"
		}
		read(s.name, key, columns)
	}
	read("counter", "slot", "n")
	return out
}

func (w *world) undo(u driftdb.Undo) (driftdb.UndoResult, error) {
	return w.db.Undo(context.Background(), u)
}

// same fails unless the database is in this state.
func (w *world) same(what, want string) {
	w.Helper()
	if got := w.dump(); got != want {
		w.Fatalf("%s: the state is not the right one:\n%s", what, dbtest.Diff(want, got))
	}
}

func (w *world) close() { _ = w.db.Close() }

// TestUndoModel undoes random transactions. If nothing has touched their rows since, the
// state is that of a database in which they never happened; undoing the undo gives back
// the state with them.
func TestUndoModel(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		g := generator{rt}
		before, during, after := g.transactions(6, true, 0, 1), g.transactions(4, true, 0), g.transactions(4, true, 1)
		folder := filepath.Join(dir, fmt.Sprint(runs))
		with, without := newWorld(rt, filepath.Join(folder, "with")), newWorld(rt, filepath.Join(folder, "without"))
		defer os.RemoveAll(folder)
		defer with.close()
		defer without.close()
		with.run(before)
		from, to := with.run(during)
		with.run(after)
		without.run(before)
		without.run(after)
		if from == 0 {
			return
		}
		was, want := with.dump(), without.dump()
		u := driftdb.Undo{From: from, To: to}
		dry := u
		dry.DryRun = true
		planned, err := with.undo(dry)
		with.must(nil, err)
		with.same("a dry run", was)
		r, err := with.undo(u)
		with.must(nil, err)
		with.same("undo", want)
		if !slices.Equal(planned.SQL, r.SQL) || planned.Undone != r.Undone {
			rt.Fatalf("planned %q, done %q", planned.SQL, r.SQL)
		}
		if r.Sequence == 0 { // the range did nothing in the end
			if was != want {
				rt.Fatal("nothing was undone")
			}
			return
		}
		_, err = with.undo(driftdb.Undo{From: r.Sequence, To: r.Sequence})
		with.must(nil, err)
		with.same("undo of the undo", was)
	})
}

// TestUndoConflicts undoes random transactions whose rows have been changed since: exactly
// those rows are reported, and Force makes them what they were.
func TestUndoConflicts(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		g := generator{rt}
		folder := filepath.Join(dir, fmt.Sprint(runs))
		w := newWorld(rt, filepath.Join(folder, "app"))
		defer os.RemoveAll(folder)
		defer w.close()
		w.run(g.transactions(6, true, 0))
		was := w.rows()
		from, to := w.run(g.transactions(3, true, 0))
		made := w.rows()
		moves := rapid.Bool().Draw(rt, "moves")
		w.run(g.transactions(2, moves, 0))
		now := w.rows()
		if from == 0 {
			return
		}
		want, changed := map[string]bool{}, map[string]bool{}
		for _, list := range []map[string]string{was, made} {
			for id := range list {
				changed[id] = was[id] != made[id]
				if changed[id] && now[id] != made[id] && now[id] != was[id] {
					want[id] = true
				}
			}
		}
		state := w.dump()
		r, err := w.undo(driftdb.Undo{From: from, To: to})
		if !moves { // else a conflict is known by another identity
			compareConflicts(rt, r, err, want)
		}
		if err == nil {
			w.loses(was, now, changed)
			return
		}
		w.same("an undo with conflicts", state)
		if r, err = w.undo(driftdb.Undo{From: from, To: to, Force: true}); err != nil {
			w.same("an undo that failed", state)
			return // a unique value is taken, or a reference would dangle
		}
		if !moves {
			w.loses(was, now, changed)
		}
		if r.Sequence != 0 {
			_, err = w.undo(driftdb.Undo{From: r.Sequence, To: r.Sequence})
			w.must(nil, err)
			w.same("undo of a forced undo", state)
		}
	})
}

// loses fails unless what was changed is what it was, and everything else is what it is now.
func (w *world) loses(was, now map[string]string, changed map[string]bool) {
	w.Helper()
	end := w.rows()
	for id := range changed {
		if changed[id] && end[id] != was[id] {
			w.Fatalf("%s is %q after the undo, and was %q", id, end[id], was[id])
		}
	}
	for id := range now {
		if !changed[id] && end[id] != now[id] {
			w.Fatalf("%s was not to be undone, and is %q, no longer %q", id, end[id], now[id])
		}
	}
	for id := range end {
		if _, known := now[id]; !changed[id] && !known {
			w.Fatalf("%s is %q, and should not be there", id, end[id])
		}
	}
}

// compareConflicts compares what was reported with the rows that should be. A row of the
// table text is known by its text, not by its rowid: those are only counted.
func compareConflicts(t *rapid.T, r driftdb.UndoResult, err error, want map[string]bool) {
	t.Helper()
	if _, unique := errors.AsType[*driftdb.ConstraintError](err); unique && len(want) == 0 {
		return
	}
	if err != nil && !errors.Is(err, driftdb.ErrConflict) {
		t.Fatal(err)
	}
	got, texts := map[string]bool{}, 0
	for _, c := range r.Conflicts {
		if c.Reason != "" {
			if len(want) > 0 {
				t.Fatalf("%+v", c)
			}
			continue
		}
		if c.Table == "text" {
			texts++
			continue
		}
		for _, name := range []string{"id", "rowid", "slot"} {
			if v, ok := c.Key[name]; ok {
				got[fmt.Sprint(c.Table, " ", v)] = true
			}
		}
	}
	maps.DeleteFunc(want, func(id string, _ bool) bool {
		if strings.HasPrefix(id, "text ") {
			texts--
			return true
		}
		return false
	})
	if texts != 0 || !maps.Equal(got, want) {
		t.Fatalf("conflicts are %v, want %v; texts differ by %d; %v", got, want, texts, err)
	}
}
