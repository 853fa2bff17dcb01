package capture_test

import (
	"database/sql"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestRandomTransactions runs random transactions from four connections at
// once, over tables of every kind, and replays the log: nothing may differ.
func TestRandomTransactions(t *testing.T) {
	var entries atomic.Int64
	t.Cleanup(func() { t.Logf("%d entries replayed", entries.Load()) })
	eachSeed(t, 6, 24, func(t *testing.T, seed uint64) {
		w := newWorkload(t, seed)
		var wg sync.WaitGroup
		for worker := range uint64(4) {
			c, err := w.s.pool(t).Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				defer c.Close()
				x := &transactor{T: t, Rand: random(seed, worker+10), c: c, worker: worker, tables: w.tables}
				for range 60 {
					x.transaction()
				}
			})
		}
		wg.Wait()
		entries.Add(int64(w.s.mustEqual(t)))
	})
}

// workload is a database with random tables t0, t1, … and some that depend on
// each other.
type workload struct {
	s      *source
	tables int
}

// Each has the columns a, b and c.
var randomTables = []string{
	"CREATE TABLE %s(id INTEGER PRIMARY KEY, a, b TEXT, c REAL)",
	"CREATE TABLE %s(a UNIQUE, b TEXT, c REAL, g AS (a||'g'), gs AS (b||'s') STORED)",
	"CREATE TABLE %s(a, b TEXT, c REAL, PRIMARY KEY(b,a)) WITHOUT ROWID",
	"CREATE TABLE %s(a, b TEXT, c REAL, PRIMARY KEY(a,b))",
	"CREATE TABLE %s(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE, b TEXT, c NUMERIC)",
	"CREATE TABLE %s(a ANY, id INT PRIMARY KEY, b ANY, c REAL) STRICT",
	"CREATE VIRTUAL TABLE %s USING fts5(a,b,c)",
}

const relatedTables = `
CREATE TABLE au(n);
CREATE TRIGGER tg AFTER INSERT ON au WHEN new.n%3=0 BEGIN UPDATE au SET n=n+1 WHERE n=new.n; END;
CREATE TABLE par(id INTEGER PRIMARY KEY);
CREATE TABLE kid(id INTEGER PRIMARY KEY, k REFERENCES par ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED)`

func newWorkload(t *testing.T, seed uint64) workload {
	r := random(seed, 1)
	w := workload{s: newSource(t, 0), tables: 3 + r.IntN(2)}
	w.s.opts.KeepJournal = true
	db := w.s.pool(t)
	script := relatedTables
	if seed%3 == 0 {
		script = "PRAGMA journal_mode=DELETE;" + script
	}
	for i := range w.tables {
		script += ";" + fmt.Sprintf(pick(r, randomTables...), fmt.Sprint("t", i))
	}
	if _, err := db.Exec(script); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if seed%3 != 0 {
		w.s.watch(t)
	}
	return w
}

// transactor makes one connection's random transactions. Statements may fail:
// what matters is what was committed.
type transactor struct {
	*testing.T
	*rand.Rand
	c      *sql.Conn
	worker uint64
	tables int
	made   int // tables made by schema statements
}

func (x *transactor) exec(query string, args ...any) {
	_, err := x.c.ExecContext(x.Context(), query, args...)
	x.broken(err)
}

// broken reports errors that only capture makes.
func (x *transactor) broken(err error) {
	if err != nil && strings.Contains(err.Error(), "capture:") {
		x.Error(err)
	}
}

func (x *transactor) transaction() {
	switch x.IntN(6) {
	case 0:
		x.step()
	case 1:
		x.exec("SAVEPOINT outermost")
		x.step()
		x.step()
		if x.IntN(3) == 0 {
			x.exec("ROLLBACK TO outermost")
			x.step()
		}
		x.exec("RELEASE outermost")
		x.exec("ROLLBACK")
	default:
		x.exec(pick(x.Rand, "BEGIN", "BEGIN IMMEDIATE", "BEGIN IMMEDIATE"))
		x.nested()
		if x.IntN(4) > 0 {
			x.exec("COMMIT")
		}
		x.exec("ROLLBACK")
	}
}

func (x *transactor) nested() {
	depth := 0
	for range 1 + x.IntN(9) {
		switch x.IntN(6) {
		case 0:
			x.exec(fmt.Sprint("SAVEPOINT s", depth))
			depth++
		case 1:
			if depth > 0 {
				x.exec(fmt.Sprint("ROLLBACK TO s", x.IntN(depth)))
			}
		case 2:
			if depth > 0 {
				depth = x.IntN(depth)
				x.exec(fmt.Sprint("RELEASE s", depth))
			}
		default:
			x.step()
		}
	}
}

func (x *transactor) step() {
	t := fmt.Sprint("t", x.IntN(x.tables))
	or := pick(x.Rand, "", "", "OR IGNORE", "OR REPLACE", "OR FAIL", "OR ABORT", "OR ROLLBACK")
	switch x.IntN(14) {
	case 0, 1, 2, 3:
		x.exec("INSERT "+or+" INTO "+t+"(a,b,c) VALUES(?,?,?),(?,?,?)", x.values(6)...)
	case 4, 5:
		x.exec("UPDATE "+or+" "+t+" SET a=?, c=? WHERE b IN (SELECT b FROM "+t+" ORDER BY random() LIMIT 3)", x.values(2)...)
	case 6:
		x.exec("UPDATE "+or+" "+t+" SET b=b||'!' WHERE a>? ", x.value())
	case 7:
		x.exec("DELETE FROM "+t+" WHERE b IN (SELECT b FROM "+t+" ORDER BY random() LIMIT ?)", x.IntN(6))
	case 8:
		x.exec("INSERT INTO au(n) VALUES(?)", x.IntN(100))
	case 9:
		x.exec("INSERT "+or+" INTO par VALUES(?)", x.IntN(30))
		x.exec("INSERT "+or+" INTO kid VALUES(?,?)", x.IntN(60), x.IntN(30))
	case 10:
		x.exec("DELETE FROM par WHERE id=?", x.IntN(30))
	case 11:
		x.exec("DELETE FROM au; UPDATE " + t + " SET c=c+1; INSERT INTO au(n) SELECT rowid FROM par")
	case 12:
		rows, err := x.c.QueryContext(x.Context(), "INSERT "+or+" INTO "+t+"(a,b,c) VALUES(?,?,?),(?,?,?) RETURNING a", x.values(6)...)
		x.broken(err)
		if err == nil {
			rows.Next()
			x.broken(rows.Close())
		}
	case 13:
		if x.IntN(4) == 0 {
			x.schema()
		}
	}
}

func (x *transactor) schema() {
	x.made++
	n := fmt.Sprintf("d%d_%d", x.worker, x.made)
	x.exec(pick(x.Rand,
		"CREATE TABLE "+n+"(x,y); INSERT INTO "+n+" VALUES(1,2)",
		"CREATE TABLE "+n+"(id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO "+n+"(x) VALUES(1),(2)",
		"ALTER TABLE au ADD COLUMN "+n+" DEFAULT 5",
		"ALTER TABLE au DROP COLUMN "+fmt.Sprintf("d%d_%d", x.IntN(4), max(1, x.made-1)),
		"CREATE TABLE "+n+" AS SELECT * FROM par",
		"CREATE INDEX i"+n+" ON au(n)",
		"CREATE TABLE IF NOT EXISTS au(q)",
		fmt.Sprintf("DROP TABLE IF EXISTS d%d_%d", x.IntN(4), x.made-1),
		"CREATE TEMP TABLE "+n+"(q); INSERT INTO temp."+n+" VALUES(1)",
		fmt.Sprintf("PRAGMA user_version=%d", x.made),
		"ANALYZE",
	))
}

func (x *transactor) values(n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = x.value()
	}
	return out
}

func (x *transactor) value() any {
	switch x.IntN(10) {
	case 0:
		return nil
	case 1:
		return x.Int64() - 1<<62
	case 2:
		return x.Float64() * 1e10
	case 3:
		return "s" + strings.Repeat("x\x00y", x.IntN(200))
	case 4:
		return make([]byte, x.IntN(9000))
	case 5:
		return "\xff\xfe"
	case 6:
		return pick(x.Rand, 0.0, math.Copysign(0, -1), math.Inf(1), 5, math.SmallestNonzeroFloat64, 1<<53)
	}
	return int64(x.IntN(50))
}
