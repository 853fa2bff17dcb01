package backup_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestFollow: the life of a row, by Follow, is what a trace of the tables shows: through
// changes of its key, REPLACE, cascades and triggers. Each row has a number for life, which
// the trace goes by.
func TestFollow(t *testing.T) {
	for _, end := range []string{"", " WITHOUT ROWID"} {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d%s", seed, end), func(t *testing.T) {
			w := newLives(t, seed, end)
			for range 150 {
				w.step()
			}
			w.compare("the log", w.db.Changes)
			systemtest.Check(t, w.db.Flush(t.Context()))
			w.compare("the bucket", w.db.Backup().Changes)
		})
	}
}

// lives is a database with two tables that are traced: the rows of t change their keys by
// themselves, those of c when their parents in p do.
type lives struct {
	t      *testing.T
	r      *rand.Rand
	db     *driftdb.DB
	next   int64
	states map[string]map[int64]life // of the rows that are there, by table
	traces map[string]map[int64][]version
	ends   map[int64]int64 // the last change of each transaction, by its first
}

// life is a row's key and value.
type life struct{ key, value string }

// version is what a transaction left of a row, or that it was deleted.
type version struct {
	tx      int // its last change
	life    life
	deleted bool
}

func newLives(t *testing.T, seed uint64, end string) *lives {
	w := &lives{t: t, r: rand.New(rand.NewPCG(seed, 0)), db: systemtest.Open(t, systemtest.Config(t)), states: map[string]map[int64]life{}, traces: map[string]map[int64][]version{}, ends: map[int64]int64{}}
	for _, name := range []string{"t", "c"} {
		w.states[name], w.traces[name] = map[int64]life{}, map[int64][]version{}
	}
	systemtest.Exec(t, w.db, "CREATE TABLE p(k TEXT PRIMARY KEY, v)")                                                                        // 1
	systemtest.Exec(t, w.db, "CREATE TABLE t(v TEXT, k TEXT PRIMARY KEY, uid INTEGER, partner TEXT)"+end)                                    // 2
	systemtest.Exec(t, w.db, "CREATE TABLE c(k TEXT PRIMARY KEY REFERENCES p ON UPDATE CASCADE ON DELETE CASCADE, v TEXT, uid INTEGER)"+end) // 3
	systemtest.Exec(t, w.db, "CREATE TRIGGER spread AFTER UPDATE OF v ON t BEGIN UPDATE t SET v = v || '.' WHERE k = NEW.partner; END")      // 4
	return w
}

var alphabet = []string{"a", "b", "c", "d", "e", "f"}

func (w *lives) key() string { return alphabet[w.r.IntN(len(alphabet))] }

// step runs a statement, and traces what it did.
func (w *lives) step() {
	w.t.Helper()
	a, b := w.key(), w.key()
	w.next++
	v := fmt.Sprint("v", w.next)
	type statement struct {
		text string
		args []any
	}
	all := []statement{
		{"INSERT OR IGNORE INTO t VALUES(?1, ?2, ?3, ?4)", []any{v, a, w.next, b}},
		{"REPLACE INTO t VALUES(?1, ?2, ?3, ?4)", []any{v, a, w.next, b}},
		{"UPDATE t SET v = ?1 WHERE k = ?2", []any{v, a}},
		{"UPDATE OR IGNORE t SET k = ?1 WHERE k = ?2", []any{a, b}},
		{"UPDATE OR REPLACE t SET k = ?1, v = ?3 WHERE k = ?2", []any{a, b, v}},
		{"DELETE FROM t WHERE k = ?1", []any{a}},
		{"INSERT OR IGNORE INTO p VALUES(?1, ?2)", []any{a, v}},
		{"INSERT OR IGNORE INTO c SELECT k, ?1, ?2 FROM p WHERE k = ?3", []any{v, w.next, a}},
		{"UPDATE c SET v = ?1 WHERE k = ?2", []any{v, a}},
		{"UPDATE OR IGNORE p SET k = ?1 WHERE k = ?2", []any{a, b}},
		{"UPDATE OR REPLACE p SET k = ?1 WHERE k = ?2", []any{a, b}},
		{"DELETE FROM p WHERE k = ?1", []any{a}},
	}
	s := all[w.r.IntN(len(all))]
	first := w.db.Sequence() + 1
	systemtest.Exec(w.t, w.db, s.text, s.args...)
	w.ends[first] = w.db.Sequence()
	for table, before := range w.states {
		now := w.read(table)
		for uid, l := range now {
			if was, had := before[uid]; !had || was != l {
				w.traces[table][uid] = append(w.traces[table][uid], version{tx: int(w.db.Sequence()), life: l})
			}
		}
		for uid := range before {
			if _, has := now[uid]; !has {
				w.traces[table][uid] = append(w.traces[table][uid], version{tx: int(w.db.Sequence()), deleted: true})
			}
		}
		w.states[table] = now
	}
}

type tracedRow struct {
	UID  int64
	K, V string
}

func (w *lives) read(table string) map[int64]life {
	w.t.Helper()
	rows, err := driftdb.Select[tracedRow](w.t.Context(), w.db, "SELECT uid, k, v FROM "+table)
	systemtest.Check(w.t, err)
	out := map[int64]life{}
	for _, r := range rows {
		out[r.UID] = life{r.K, r.V}
	}
	return out
}

// compare asks for the life of each key.
func (w *lives) compare(where string, changes func(ctx context.Context, q driftdb.ChangeQuery) iter.Seq2[driftdb.Change, error]) {
	w.t.Helper()
	for table, traces := range w.traces {
		for _, key := range alphabet {
			want := map[int64][]version{}
			for uid, trace := range traces {
				if slices.ContainsFunc(trace, func(v version) bool { return !v.deleted && v.life.key == key }) {
					want[uid] = trace
				}
			}
			q := driftdb.ChangeQuery{Table: table, Key: map[string]any{"k": key}, Follow: true}
			got := w.rebuild(changes(w.t.Context(), q))
			if !reflect.DeepEqual(got, want) {
				w.t.Errorf("%s: the life of %s in %s is\n%v, want\n%v", where, key, table, got, want)
			}
		}
	}
}

// rebuild makes a trace from changes, which must have every change of each row.
func (w *lives) rebuild(changes iter.Seq2[driftdb.Change, error]) map[int64][]version {
	w.t.Helper()
	type row struct {
		uid int64
		life
	}
	rows, out, last := map[string]row{}, map[int64][]version{}, int64(0)
	shown := map[int64]life{} // by the trace so far
	pending := map[int64]bool{}
	var ends int64
	settle := func() { // at the end of a transaction
		there := map[int64]life{}
		for _, r := range rows {
			there[r.uid] = r.life
		}
		for _, uid := range slices.Sorted(maps.Keys(pending)) {
			l, has := there[uid]
			switch was, had := shown[uid]; {
			case has && (!had || was != l):
				out[uid] = append(out[uid], version{tx: int(ends), life: l})
				shown[uid] = l
			case !has && had:
				out[uid] = append(out[uid], version{tx: int(ends), deleted: true})
				delete(shown, uid)
			}
		}
		clear(pending)
	}
	for c, err := range changes {
		systemtest.Check(w.t, err)
		if c.Sequence <= last {
			w.t.Errorf("change %d comes after %d", c.Sequence, last)
		}
		if last = c.Sequence; ends != w.end(c) {
			settle()
			ends = w.end(c)
		}
		k := c.Key["k"].(string)
		r, has := rows[k]
		if has == (c.Operation == driftdb.OperationInsert) {
			w.t.Errorf("change %d, %s of %s: the row was there: %v", c.Sequence, c.Operation, k, has)
		}
		if c.Operation != driftdb.OperationDelete {
			set(&r.uid, c.After["uid"])
			r.key = k
			set(&r.key, c.After["k"])
			set(&r.value, c.After["v"])
		}
		delete(rows, k)
		if pending[r.uid] = true; c.Operation != driftdb.OperationDelete {
			rows[r.key] = r
		}
	}
	settle()
	return out
}

func set[T any](to *T, v any) {
	if v, ok := v.(T); ok {
		*to = v
	}
}

// end is the last change of c's transaction.
func (w *lives) end(c driftdb.Change) int64 {
	return w.ends[c.Tx]
}
